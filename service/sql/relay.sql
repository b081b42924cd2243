-- name: take_lease
-- Take the lease where nobody holds it, or where $2 does; no row otherwise.
INSERT INTO relay.lease AS lease (topic, generation, owner, expires_at)
VALUES ($1, 1, $2, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT ON CONSTRAINT lease_pk DO UPDATE
SET generation = lease.generation + 1, owner = excluded.owner, expires_at = excluded.expires_at
WHERE lease.expires_at < clock_timestamp() OR lease.owner = excluded.owner
RETURNING lease.generation;

-- name: renew_lease
-- No row where somebody else has taken it.
UPDATE relay.lease SET expires_at = clock_timestamp() + make_interval(secs => $3)
WHERE topic = $1 AND generation = $2
RETURNING generation;

-- name: release_lease
UPDATE relay.lease SET expires_at = '-infinity' WHERE topic = $1 AND generation = $2;

-- name: progress
SELECT topic_id, epoch, position, tails FROM relay.progress WHERE topic = $1;

-- name: recorded
-- Whether some process holds the right to publish to the topic, and how far it has recorded to be.
SELECT lease.expires_at > clock_timestamp(), progress.position
FROM relay.lease LEFT JOIN relay.progress ON progress.topic = lease.topic
WHERE lease.topic = $1;

-- name: record_progress
-- Renews the lease and records, or does neither: no row where somebody else has taken the lease.
WITH held AS (
    UPDATE relay.lease SET expires_at = clock_timestamp() + make_interval(secs => $3)
    WHERE topic = $1 AND generation = $2
    RETURNING topic
)
INSERT INTO relay.progress AS progress (topic, topic_id, epoch, position, tails, recorded_at)
SELECT held.topic, $4, $5, $6, $7, clock_timestamp() FROM held
ON CONFLICT ON CONSTRAINT progress_pk DO UPDATE
SET topic_id = excluded.topic_id, epoch = excluded.epoch, position = excluded.position,
    tails = excluded.tails, recorded_at = excluded.recorded_at
RETURNING progress.position;

-- name: last_older_than
-- Position of the last event older than $1 seconds, 0 = none: a binary search, for times never go
-- back as positions rise. Invariant: the event at `low` is older, the one after `high` is not.
WITH RECURSIVE search AS (
    SELECT 0::bigint AS low, head.position AS high FROM log.head
    UNION ALL
    SELECT CASE WHEN middle.is_older THEN middle.position ELSE search.low END,
           CASE WHEN middle.is_older THEN search.high ELSE middle.position - 1 END
    FROM search
    JOIN LATERAL (
        SELECT event.position, event.recorded_at < now() - make_interval(secs => $1) AS is_older
        FROM log.event WHERE event.position = (search.low + search.high + 1) / 2
    ) AS middle ON search.low < search.high
)
SELECT low FROM search WHERE low = high;
