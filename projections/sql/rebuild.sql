-- Building another version of the read model "customers" beside the one that is read.

-- name: add_version
INSERT INTO projection.version (projection, version, state)
SELECT 'customers', max(version) + 1, 'building' FROM projection.version WHERE projection = 'customers'
RETURNING version;

-- name: begin
INSERT INTO projection.rebuild (version, epoch, target, phase)
SELECT $1::integer, epoch, position, 'filling' FROM log.head
RETURNING version, epoch, target, phase;

-- name: plan
-- Ranges of customers with about $2 events each, fewer where the log is short, so that several processes come to an
-- end together; more where one customer has more.
INSERT INTO projection.rebuild_range (version, number, after, until, events)
SELECT $1::integer, row_number() OVER (ORDER BY last), coalesce(lag(last) OVER (ORDER BY last), ''), last, events
FROM (
    SELECT max(customer_id) AS last, sum(version) AS events
    FROM (
        SELECT customer_id, version,
               div(sum(version) OVER (ORDER BY customer_id ROWS UNBOUNDED PRECEDING) - version, share.events) AS bucket
        FROM log.stream, (
            SELECT least($2::bigint, greatest($3::bigint, sum(version)::bigint / $4::bigint)) AS events FROM log.stream
        ) AS share
    ) AS stream
    GROUP BY bucket
) AS range;

-- name: build
SELECT version, epoch, target, phase FROM projection.rebuild
WHERE version IN (SELECT version FROM projection.version WHERE projection = 'customers' AND state = 'building')
ORDER BY version;

-- name: epoch
SELECT epoch FROM log.head;

-- name: claim
-- A range that nobody has filled or is filling: who fills it holds its row until all of it is written.
SELECT number, after, until FROM projection.rebuild_range
WHERE version = $1 AND NOT is_done ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: as_filler
-- For this transaction: streams are read by their index, whatever a plan that is kept takes them for. And its commit
-- waits for no disk: should the server die, the range is lost together with the mark that it is done, and filled again.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
       set_config('synchronous_commit', 'off', true);

-- name: done
UPDATE projection.rebuild_range SET is_done = true WHERE version = $1 AND number = $2;

-- name: filled
SELECT count(*) FILTER (WHERE NOT is_done), coalesce(sum(events) FILTER (WHERE is_done), 0)::bigint,
       coalesce(sum(events), 0)::bigint
FROM projection.rebuild_range WHERE version = $1;

-- name: currencies
SELECT name, currency FROM access.tenant ORDER BY name;

-- name: lock_build
SELECT version, epoch, target, phase FROM projection.rebuild WHERE version = $1 FOR UPDATE;

-- name: large_sorts
-- For this transaction: what building indexes may take.
SELECT set_config('maintenance_work_mem', '256MB', true);

-- name: count_tags
INSERT INTO {schema}.counter (tenant, tag, is_active, count)
SELECT profile.tenant, tag.id, profile.is_active, count(*)
FROM {schema}.profile CROSS JOIN LATERAL unnest(array_append(profile.tags, 0)) AS tag (id)
GROUP BY profile.tenant, tag.id, profile.is_active;

-- name: count_days
INSERT INTO {schema}.day (tenant, day, count)
SELECT tenant, (created_at AT TIME ZONE 'UTC')::date, count(*)
FROM {schema}.profile GROUP BY tenant, (created_at AT TIME ZONE 'UTC')::date;

-- name: set_place
-- All of the log up to the target is applied: partition -1 is the log itself.
INSERT INTO projection.checkpoint (projection, version, partition, epoch, position, topic_id, topic_offset, event_time)
SELECT 'customers', version, -1, epoch, target, '', 0,
       coalesce((SELECT recorded_at FROM log.event WHERE position = target), to_timestamp(0))
FROM projection.rebuild WHERE version = $1;

-- name: caught_up_next
UPDATE projection.rebuild SET phase = 'catching_up' WHERE version = $1;

-- name: tables
SELECT relname FROM pg_catalog.pg_class
WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' ORDER BY relname;

-- name: ranges
-- Those that were planned, and whoever has come since.
SELECT number, after, until FROM projection.rebuild_range WHERE version = $1
UNION ALL
SELECT coalesce(max(number), 0) + 1, coalesce(max(until), ''), chr(1114111)
FROM projection.rebuild_range WHERE version = $1
ORDER BY number;

-- name: differ
INSERT INTO projection.rebuild_difference (version, customer_id) SELECT $1::integer, unnest($2::text[])
ON CONFLICT ON CONSTRAINT rebuild_difference_pk DO NOTHING;

-- name: forget_differences
DELETE FROM projection.rebuild_difference WHERE version = $1;
