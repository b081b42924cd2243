-- name: head
SELECT epoch, position FROM log.head;

-- name: set_head
UPDATE log.head SET position = $1, recorded_at = $2;

-- name: relay_starts_at_head
-- As if everything so far had been published: the seeded customers have no events in the log.
INSERT INTO relay.progress (topic, topic_id, epoch, position, tails, recorded_at)
SELECT $1, $2, head.epoch, head.position, array_fill(0::bigint, ARRAY[$3::integer]), now() FROM log.head
ON CONFLICT ON CONSTRAINT progress_pk DO UPDATE
SET topic_id = excluded.topic_id, epoch = excluded.epoch, position = excluded.position, tails = excluded.tails;

-- name: states_start_at_head
-- The same for the topic of states.
INSERT INTO projection.checkpoint (projection, version, partition, epoch, position, topic_id, topic_offset, event_time)
SELECT 'states', 1, -1, head.epoch, head.position, $1, 0, head.recorded_at FROM log.head
ON CONFLICT ON CONSTRAINT checkpoint_pk DO UPDATE
SET epoch = excluded.epoch, position = excluded.position, topic_id = excluded.topic_id;

-- name: published
SELECT position FROM relay.progress WHERE topic = $1;

-- name: marked
-- Up to where the last record of every partition tells that all is published.
SELECT min(tail) FROM relay.progress, unnest(tails) AS tail WHERE topic = $1;

-- name: shown
-- Of a projection's partitions: the lowest position, and their mean, by which to count events.
SELECT min(position), avg(position)::float8 FROM projection.checkpoint WHERE projection = 'customers' AND version = 1;

-- name: hold_checkpoints
SELECT partition FROM projection.checkpoint WHERE projection = 'customers' AND version = 1 ORDER BY partition FOR UPDATE;

-- name: hold_log
-- Nobody can append: whoever does moves this row.
SELECT position FROM log.head FOR UPDATE;

-- name: stir
-- The mark of the read model moves as it does with every batch, and nothing else changes.
INSERT INTO projection.checkpoint AS held (projection, version, partition, epoch, position, topic_id, topic_offset, event_time)
SELECT 'customers', 1, -2, head.epoch, 1000000000000, '', 0, head.recorded_at FROM log.head
ON CONFLICT ON CONSTRAINT checkpoint_pk DO UPDATE SET position = held.position + 1;

-- name: stir_no_more
DELETE FROM projection.checkpoint WHERE projection = 'customers' AND version = 1 AND partition = -2;

-- name: some_ids
SELECT id FROM read_model.profile WHERE tenant = 'default' ORDER BY hashtext(id) LIMIT $1;

-- name: some_emails
SELECT email FROM read_model.profile WHERE tenant = 'default' ORDER BY hashtext(id) LIMIT $1;

-- name: some_rare_names
-- First and last names that nobody shares, as keys: folded, a separator, then as typed.
SELECT first_key, last_key FROM read_model.profile
WHERE tenant = 'default' AND first_key IS NOT NULL AND last_key IS NOT NULL
GROUP BY first_key, last_key HAVING count(*) = 1 ORDER BY hashtext(first_key || last_key) LIMIT $1;

-- name: some_streams
SELECT customer_id, version FROM log.stream
WHERE tenant = 'default' AND NOT is_closed AND first_position <= $1 ORDER BY hashtext(customer_id) LIMIT $2;

-- name: new_ids
-- Customers that were created through the API, after the seeding.
SELECT customer_id FROM log.stream WHERE tenant = 'default' AND NOT is_closed AND first_position > $1
ORDER BY hashtext(customer_id) LIMIT $2;

-- name: head_moves
UPDATE log.head SET position = position + $1;

-- name: analyze_log
VACUUM (ANALYZE) log.event, vault.customer_key;
