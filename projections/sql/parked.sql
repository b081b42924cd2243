-- name: list
-- A page of the customers that any projection has parked, after one of them; with how many events of each are not shown.
SELECT parked.customer_id, parked.tenant, parked.stream_version, parked.position, parked.reason, parked.parked_at,
       greatest(0, coalesce(stream.version, 0) - parked.stream_version + 1)
FROM projection.parked
LEFT JOIN log.stream ON stream.customer_id = parked.customer_id
WHERE parked.projection = $4 AND parked.version = $5 AND parked.customer_id > $1
  AND ($2::text IS NULL OR parked.tenant = $2)
ORDER BY parked.customer_id LIMIT $3;

-- name: tenant_of
SELECT tenant FROM log.stream WHERE customer_id = $1;

-- name: held
-- Where a parked customer stands, in the read model and in the log. No row: it is not parked.
SELECT parked.tenant, parked.stream_version, parked.position, parked.reason,
       coalesce(shown.version, 0), coalesce(shown.position, 0), coalesce(stream.is_closed, false)
FROM projection.parked
LEFT JOIN {schema}.customer AS shown ON shown.id = parked.customer_id
LEFT JOIN log.stream ON stream.customer_id = parked.customer_id
WHERE parked.projection = 'customers' AND parked.version = {version} AND parked.customer_id = $1;

-- name: amend
-- First in the transaction: so there is one such change at a time, and their numbers become visible in order.
UPDATE projection.amendment SET number = number + 1 WHERE projection = 'customers' AND version = {version}
RETURNING number;

-- name: lock_shown
-- The row before the parking, as whoever parks a customer takes them.
SELECT version, position FROM {schema}.customer WHERE id = $1 FOR UPDATE;

-- name: lock_parked
SELECT stream_version, position FROM projection.parked
WHERE projection = 'customers' AND version = {version} AND customer_id = $1 FOR UPDATE;

-- name: stay
UPDATE projection.parked SET stream_version = $2, position = $3, reason = $4
WHERE projection = 'customers' AND version = {version} AND customer_id = $1;

-- name: leave
DELETE FROM projection.parked WHERE projection = 'customers' AND version = {version} AND customer_id = $1;

-- name: set_stale
UPDATE {schema}.customer SET is_stale = $2 WHERE id = $1;

-- name: outdate_state
-- Where there is a topic of states.
INSERT INTO projection.outdated_state (customer_id, amendment)
SELECT $1, $2 WHERE EXISTS (SELECT FROM projection.checkpoint WHERE projection = 'states')
ON CONFLICT ON CONSTRAINT outdated_state_pk DO UPDATE SET amendment = excluded.amendment;

-- name: lock_stream
-- Last in the transaction. Until it ends nobody appends to the stream; so no worker can hear of an
-- event that is neither applied here nor applied by the worker. And it is as durable as it is told.
SELECT version, is_closed, set_config('synchronous_commit', 'on', true) FROM log.stream
WHERE customer_id = $1 FOR SHARE;
