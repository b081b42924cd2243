-- name: deletion
-- Whose customer it was; when it was deleted, NULL = it was not. Where the deletion is
-- archived, the time is that of its key's end.
SELECT stream.tenant,
       coalesce((SELECT event.recorded_at FROM log.event
                 WHERE event.customer_id = stream.customer_id AND event.type = $2 AND event.position >= stream.first_position
                 ORDER BY event.version LIMIT 1),
                CASE WHEN stream.is_closed AND archive.last_position >= stream.first_position THEN key.destroyed_at END)
FROM log.stream
LEFT JOIN vault.customer_key AS key ON key.customer_id = stream.customer_id
CROSS JOIN (SELECT coalesce(max(last_position), 0) AS last_position FROM log.archived) AS archive
WHERE stream.customer_id = $1;

-- name: left_in_log
-- How many of a customer's first events are archived; no row: none is.
SELECT coalesce(min(event.version), stream.version + 1) - 1
FROM log.stream LEFT JOIN log.event ON event.customer_id = stream.customer_id
WHERE stream.customer_id = $1 AND stream.first_position <= (SELECT max(last_position) FROM log.archived)
GROUP BY stream.version;

-- name: held
-- Every row that names the customer, by table: how many there are, and how many of them tell about a
-- person. What a table may keep after a deletion is written down beside it.
SELECT 'log.stream' AS place, count(*), count(*) FILTER (WHERE NOT is_closed)
FROM log.stream WHERE customer_id = $1  -- versions and positions
UNION ALL SELECT 'log.email_claim', count(*), count(*)
FROM log.email_claim JOIN log.stream USING (tenant, customer_id) WHERE customer_id = $1
UNION ALL SELECT 'log.idempotency', count(*), 0
FROM log.idempotency WHERE customer_id = $1  -- digests, for seven days
UNION ALL SELECT 'log.accepted_order', count(*), 0
FROM log.accepted_order WHERE customer_id = $1  -- order ids and versions
UNION ALL SELECT 'log.snapshot', count(*), count(*) FILTER (WHERE key.wrapped IS NOT NULL)
FROM log.snapshot LEFT JOIN vault.customer_key AS key USING (customer_id) WHERE customer_id = $1  -- opens with the key alone
UNION ALL SELECT 'vault.customer_key', count(*), count(*) FILTER (WHERE wrapped IS NOT NULL)
FROM vault.customer_key WHERE customer_id = $1  -- when it was destroyed
UNION ALL SELECT 'read_model.customer', count(*), count(*) FILTER (WHERE document IS NOT NULL OR item IS NOT NULL)
FROM read_model.customer WHERE id = $1  -- version and position
UNION ALL SELECT 'read_model.profile', count(*), count(*) FROM read_model.profile WHERE id = $1
UNION ALL SELECT 'read_model.activity', count(*), count(*) FROM read_model.activity WHERE id = $1
UNION ALL SELECT 'read_model.search', count(*), count(*) FROM read_model.search WHERE id = $1
UNION ALL SELECT 'read_model.tagged', count(*), count(*) FROM read_model.tagged WHERE id = $1
UNION ALL SELECT 'read_model.contribution', count(*), count(*) FROM read_model.contribution WHERE customer_id = $1
UNION ALL SELECT 'read_model.parked', count(*), 0 FROM read_model.parked WHERE customer_id = $1  -- a position, and a reason
UNION ALL SELECT 'read_model.outdated_state', count(*), 0 FROM read_model.outdated_state WHERE customer_id = $1  -- until it is sent
UNION ALL SELECT 'read_model.rebuild_difference', count(*), 0 FROM read_model.rebuild_difference WHERE customer_id = $1  -- until the other version is gone
UNION ALL SELECT place, held, readable FROM read_model.derived_rows($1)  -- of projections that were added: none
ORDER BY place;

-- name: unread_schemas
-- Versions of the read model that are being built, or kept from before.
SELECT name FROM read_model.unread_schema ORDER BY name;

-- name: held_unread
-- The same of a version that is not read: {schema} stands for its schema.
SELECT '{schema}.customer' AS place, count(*), count(*) FILTER (WHERE document IS NOT NULL OR item IS NOT NULL)
FROM {schema}.customer WHERE id = $1
UNION ALL SELECT '{schema}.profile', count(*), count(*) FROM {schema}.profile WHERE id = $1
UNION ALL SELECT '{schema}.activity', count(*), count(*) FROM {schema}.activity WHERE id = $1
UNION ALL SELECT '{schema}.search', count(*), count(*) FROM {schema}.search WHERE id = $1
UNION ALL SELECT '{schema}.tagged', count(*), count(*) FROM {schema}.tagged WHERE id = $1
UNION ALL SELECT '{schema}.contribution', count(*), count(*) FROM {schema}.contribution WHERE customer_id = $1
ORDER BY place;

-- name: unclean
-- Tables that hold, or held, what is personal and have dead rows, or were not vacuumed since.
SELECT schemaname || '.' || relname
FROM pg_stat_user_tables
WHERE (schemaname || '.' || relname IN ('vault.customer_key', 'log.email_claim')
       OR schemaname LIKE 'customers\_v%' AND relname IN ('customer', 'profile', 'search')
       OR schemaname = 'derived' AND relname NOT IN ('projection', 'reached'))
  AND (n_dead_tup > 0 OR greatest(last_vacuum, last_autovacuum, '-infinity') < $1)
ORDER BY schemaname, relname;
