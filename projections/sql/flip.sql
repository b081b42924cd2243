-- Going over from the version that is read to another one, and dropping what is not read.

-- name: bound_waits
-- For this transaction: a reader that takes long is not waited for while others queue up behind us.
SELECT set_config('lock_timeout', $1, true), set_config('synchronous_commit', 'on', true);

-- name: lock_versions
SELECT version, state FROM projection.version WHERE projection = 'customers' ORDER BY version FOR UPDATE;

-- name: lock_feeds
-- Whoever takes partitions over waits for us, or we for them: projection.take_over.
SELECT pg_advisory_xact_lock(7305003);

-- name: places
-- Until the transaction ends nobody applies anything to this version; what its partitions show.
SELECT position FROM projection.checkpoint
WHERE projection = 'customers' AND version = $1 ORDER BY partition FOR UPDATE;

-- name: place
SELECT coalesce(min(position), 0) FROM projection.checkpoint WHERE projection = 'customers' AND version = $1;

-- name: behind
-- How far version $2 is behind what version $1 shows of any partition.
SELECT greatest(0, (SELECT coalesce(max(position), 0) FROM projection.checkpoint WHERE projection = 'customers' AND version = $1)
                 - (SELECT coalesce(min(position), 0) FROM projection.checkpoint WHERE projection = 'customers' AND version = $2));

-- name: hand_over
-- The feed of version $1 is that of version $2 from now on: as far as the latter shows the log, which is
-- further in every partition, from the offsets of the former. What Kafka repeats is skipped.
WITH fed AS (
    SELECT partition, epoch, topic_id, topic_offset FROM projection.checkpoint
    WHERE projection = 'customers' AND version = $1
), shown AS (
    DELETE FROM projection.checkpoint
    WHERE projection = 'customers' AND version = $2 AND EXISTS (SELECT FROM fed)
    RETURNING position, event_time
)
SELECT fed.partition, fed.epoch, lowest.position, fed.topic_id, fed.topic_offset, lowest.event_time
FROM fed CROSS JOIN (SELECT position, event_time FROM shown ORDER BY position LIMIT 1) AS lowest
ORDER BY fed.partition;

-- name: add_places
INSERT INTO projection.checkpoint (projection, version, partition, epoch, position, topic_id, topic_offset, event_time)
SELECT 'customers', $1::integer, partition, epoch, position, topic_id, topic_offset, event_time
FROM unnest($2::integer[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::timestamptz[])
     AS place (partition, epoch, position, topic_id, topic_offset, event_time);

-- name: keep
-- Of a version that is no longer read one place stays, under a partition that no worker feeds: so those
-- who did notice. What is certain is the lowest.
WITH held AS (
    DELETE FROM projection.checkpoint WHERE projection = 'customers' AND version = $1
    RETURNING epoch, position, event_time
)
SELECT epoch, position, event_time FROM held ORDER BY position LIMIT 1;

-- name: add_kept
INSERT INTO projection.checkpoint (projection, version, partition, epoch, position, topic_id, topic_offset, event_time)
VALUES ('customers', $1, -2, $2, $3, '', 0, $4);

-- name: set_state
UPDATE projection.version SET state = $2 WHERE projection = 'customers' AND version = $1;

-- name: amend
-- Numbers of changes that no event tells of rise over all versions, as the topic of states expects.
UPDATE projection.amendment SET number = (
    SELECT max(number) + 1 FROM projection.amendment WHERE projection = 'customers'
) WHERE projection = 'customers' AND version = $1
RETURNING number;

-- name: outdate_different
-- The states of those whom two versions show differently, where there is a topic of states. There may be
-- very many of them: before anybody waits for us.
INSERT INTO projection.outdated_state (customer_id, amendment)
SELECT customer_id, $2::bigint FROM projection.rebuild_difference
WHERE version = $1 AND EXISTS (SELECT FROM projection.checkpoint WHERE projection = 'states')
ON CONFLICT ON CONSTRAINT outdated_state_pk DO UPDATE SET amendment = excluded.amendment;

-- name: hand_differences_over
UPDATE projection.rebuild_difference SET version = $2 WHERE version = $1;

-- name: outdate_parked
-- The same of those who are parked in one of them, once nobody can be any more.
INSERT INTO projection.outdated_state (customer_id, amendment)
SELECT DISTINCT customer_id, $3::bigint FROM projection.parked
WHERE projection = 'customers' AND version IN ($1, $2)
  AND EXISTS (SELECT FROM projection.checkpoint WHERE projection = 'states')
ON CONFLICT ON CONSTRAINT outdated_state_pk DO UPDATE SET amendment = excluded.amendment;

-- name: forget_build
DELETE FROM projection.rebuild WHERE version = $1;

-- name: forget_ranges
DELETE FROM projection.rebuild_range WHERE version = $1;

-- name: forget_version
WITH places AS (
    DELETE FROM projection.checkpoint WHERE projection = 'customers' AND version = $1
), parked AS (
    DELETE FROM projection.parked WHERE projection = 'customers' AND version = $1
)
DELETE FROM projection.amendment WHERE projection = 'customers' AND version = $1;
