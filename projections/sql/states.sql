-- name: take_over
-- How far a topic holds the states. One that was made anew holds none, whatever log the one before
-- it was of. No row: this very topic holds the states of another log.
INSERT INTO projection.checkpoint AS held
    (projection, version, partition, epoch, position, topic_id, topic_offset, event_time)
VALUES ($1, $2, $3, $4, 0, $5, 0, to_timestamp(0))
ON CONFLICT ON CONSTRAINT checkpoint_pk DO UPDATE
SET epoch = excluded.epoch, topic_id = excluded.topic_id,
    position = CASE WHEN held.topic_id = excluded.topic_id THEN held.position ELSE 0 END,
    event_time = CASE WHEN held.topic_id = excluded.topic_id THEN held.event_time ELSE excluded.event_time END
WHERE held.topic_id <> excluded.topic_id OR held.epoch = excluded.epoch
RETURNING position;

-- name: position
-- No row: another topic, or another log, has taken the place.
SELECT position FROM projection.checkpoint
WHERE projection = $1 AND version = $2 AND partition = $3 AND epoch = $4 AND topic_id = $5;

-- name: move
-- Compare and set. No row: somebody else has moved it, or another topic has taken the place.
UPDATE projection.checkpoint SET position = $7, event_time = $8
WHERE projection = $1 AND version = $2 AND partition = $3 AND epoch = $4 AND topic_id = $5 AND position = $6
RETURNING position;

-- name: shown
-- Up to where the read model shows this log; 0 where it shows another one, or nothing yet.
SELECT coalesce(CASE WHEN bool_and(epoch = $1) THEN min(position) END, 0) FROM read_model.checkpoint;

-- name: page
-- Whom the events are about. Nothing that is sealed or large is read.
SELECT position, customer_id, recorded_at FROM log.event
WHERE position > $1 AND position <= $2 ORDER BY position;

-- name: recorded_at
SELECT recorded_at FROM log.event WHERE position >= $1 ORDER BY position LIMIT 1;

-- name: no_scans
-- For this transaction. Plans are kept for a session, and one that was made while a table was empty
-- must not scan it when it is large.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true);

-- name: states
-- What is shown of these customers, from after one of them on: as many as stay within so many bytes,
-- or the first. Left out are those whose last event lies above $4 and not above $5. What is stored
-- is weighed first, so that only what fits is read.
-- The time of a last event that is archived stands in the document; of a deletion, that of its partition will do.
SELECT customer.id, customer.tenant, customer.version, customer.position, customer.document,
       coalesce(event.recorded_at, (customer.document::jsonb ->> 'updatedAt')::timestamptz, archived.last_recorded_at)
FROM (
    SELECT id, row_number() OVER (ORDER BY id) AS number,
           sum(coalesce(octet_length(document), 0)) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS bytes
    FROM read_model.customer
    WHERE id = ANY ($1) AND id > $2 AND NOT (position > $4 AND position <= $5)
) AS weighed
JOIN read_model.customer ON customer.id = weighed.id
LEFT JOIN log.event ON event.position = customer.position
LEFT JOIN log.archived ON archived.first_position = (
    SELECT max(first_position) FROM log.archived AS before
    WHERE before.first_position <= customer.position AND before.last_position >= customer.position
)
WHERE (event.position IS NOT NULL OR archived.first_position IS NOT NULL) AND (weighed.bytes <= $3 OR weighed.number = 1)
ORDER BY customer.id;

-- name: archived_customers
-- Who is shown as of an event up to a position, a page after a customer.
SELECT id FROM read_model.customer WHERE id > $1 AND position <= $2 ORDER BY id LIMIT $3;

-- name: outdated
-- Whose state is older than what is shown, although no event tells.
SELECT customer_id, amendment FROM projection.outdated_state ORDER BY customer_id LIMIT $1;

-- name: brought_up_to_date
-- Unless another change has come since.
DELETE FROM projection.outdated_state AS held USING unnest($1::text[], $2::bigint[]) AS sent (customer_id, amendment)
WHERE held.customer_id = sent.customer_id AND held.amendment = sent.amendment;
