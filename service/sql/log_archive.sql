-- name: hold_upkeep
-- To the end of the transaction nobody else archives or attaches; and the transaction may last.
SELECT pg_try_advisory_xact_lock(7305010), set_config('idle_in_transaction_session_timeout', '0', true);

-- name: upkeep_is_held
SELECT true;

-- name: partitions
-- The tables that the log is made of, in the order of their positions, with the times of the first and
-- the last event of each.
SELECT part.name, greatest(part.bounds[1], 1), part.bounds[2] - 1, pg_total_relation_size(part.oid),
       (SELECT recorded_at FROM log.event WHERE position = greatest(part.bounds[1], 1)),
       (SELECT recorded_at FROM log.event WHERE position = least(part.bounds[2] - 1, head.position))
FROM log.head, (
    SELECT child.oid, child.relname::text AS name,
           regexp_match(pg_get_expr(child.relpartbound, child.oid), 'FROM \(''?(\d+)''?\) TO \(''?(\d+)''?\)')::bigint[] AS bounds
    FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
    WHERE inhparent = 'log.event'::regclass
) AS part
ORDER BY part.bounds[1];

-- name: archived
-- What is archived, the oldest first.
SELECT first_position, last_position, events, partition, epoch, file_name, file_bytes, sha256,
       first_recorded_at, last_recorded_at, archived_at
FROM log.archived ORDER BY first_position;

-- name: age
-- How many seconds ago an event was recorded; no row: there is none at this position.
SELECT extract(epoch FROM now() - recorded_at)::float8 FROM log.event WHERE position = $1;

-- name: published
-- For each topic that a relay publishes to, or this one, how far it is with this log; 0 = not begun.
SELECT topic.name, coalesce(max(progress.position), 0)
FROM (SELECT lease.topic AS name FROM relay.lease WHERE $1::text IS NULL UNION SELECT $1 WHERE $1 IS NOT NULL) AS topic
LEFT JOIN relay.progress ON progress.topic = topic.name AND progress.epoch = (SELECT head.epoch FROM log.head)
GROUP BY topic.name ORDER BY topic.name;

-- name: rows
-- Events exactly as they are stored; {table} is the log or a part of it.
SELECT position, id, tenant, customer_id, version, type, schema_version, data::text, sealed, meta::text,
       (extract(epoch FROM recorded_at) * 1000)::bigint
FROM {table} WHERE position >= $1 AND position <= $2 ORDER BY position;

-- name: digest
-- How many rows a stretch of positions has, and a digest of all that is stored in them: the same that
-- service.log_archive.rows makes of what a file says. {table} is the log or a part of it.
SELECT count(*), encode(sha256(convert_to(coalesce(string_agg(concat_ws('|',
           position, id, version, schema_version, (extract(epoch FROM recorded_at) * 1000)::bigint,
           coalesce(encode(sealed, 'hex'), '-'), octet_length(tenant) || ':' || tenant,
           octet_length(customer_id) || ':' || customer_id, octet_length(type) || ':' || type,
           octet_length(data::text) || ':' || data::text, octet_length(meta::text) || ':' || meta::text
       ), E'\n' ORDER BY position), ''), 'UTF8')), 'hex')
FROM {table} WHERE position >= $1 AND position <= $2;

-- name: partition_events
-- A page of the events up to a position, by customer and version, each with what opens it and whether
-- its customer was deleted.
SELECT stream.is_closed, page.position, page.id, page.tenant, page.customer_id, page.version, page.type, page.schema_version,
       page.data::text, page.meta::text, page.recorded_at, page.sealed, key.wrapped, key.customer_id IS NOT NULL AND key.wrapped IS NULL
FROM (
    SELECT position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at, sealed
    FROM log.event WHERE (customer_id, version) > ($1, $2) AND position <= $3
    ORDER BY customer_id, version LIMIT $4
) AS page
JOIN log.stream ON stream.customer_id = page.customer_id
LEFT JOIN vault.customer_key AS key ON key.customer_id = page.customer_id
ORDER BY page.customer_id, page.version;

-- name: earlier_snapshots
-- The states of these customers at these versions.
SELECT snapshot.customer_id, snapshot.tenant, snapshot.version, snapshot.position, snapshot.recorded_at,
       snapshot.schema_version, snapshot.sealed
FROM unnest($1::text[], $2::bigint[]) AS asked (customer_id, version)
JOIN log.snapshot ON snapshot.customer_id = asked.customer_id AND snapshot.version = asked.version
ORDER BY snapshot.customer_id;

-- name: keep_snapshots
INSERT INTO log.snapshot (customer_id, tenant, version, position, recorded_at, schema_version, sealed)
SELECT customer_id, tenant, version, position, recorded_at, $6, sealed
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::timestamptz[], $7::bytea[])
     AS given (customer_id, tenant, version, position, recorded_at, sealed)
ON CONFLICT ON CONSTRAINT snapshot_pk DO NOTHING;

-- name: missing_snapshots
-- How many customers live, have events up to this position, and have no state at the last of these.
SELECT count(*) FROM (
    SELECT customer_id, max(version) AS version FROM log.event WHERE position <= $1 GROUP BY customer_id
) AS ended
JOIN log.stream ON stream.customer_id = ended.customer_id AND NOT stream.is_closed
LEFT JOIN log.snapshot ON snapshot.customer_id = ended.customer_id AND snapshot.version = ended.version
WHERE snapshot.customer_id IS NULL;

-- name: await_deletions
-- The lock of log.append: every deletion that began before this statement has ended after it.
SELECT pg_advisory_xact_lock(7305002);

-- name: drop_forgotten
-- States of customers whose key was destroyed while they were made: unreadable, and of no use.
DELETE FROM log.snapshot USING vault.customer_key AS key
WHERE key.customer_id = snapshot.customer_id AND key.wrapped IS NULL AND snapshot.position >= $1;

-- name: drop_unneeded
-- A bite of the states from a position on: the events there are in the log.
DELETE FROM log.snapshot WHERE (customer_id, version) IN (
    SELECT customer_id, version FROM log.snapshot WHERE position > $1 ORDER BY position LIMIT $2
)
RETURNING version;

-- name: bound_waits
SELECT set_config('lock_timeout', $1, true);

-- name: lock_to_archive
SELECT log.lock_to_archive($1);

-- name: add_archived
INSERT INTO log.archived (first_position, last_position, events, partition, epoch, file_name, file_bytes, sha256,
                          first_recorded_at, last_recorded_at)
VALUES ($1, $2, $2::bigint - $1::bigint + 1, $3, $4, $5, $6, $7, $8, $9);

-- name: drop_partition
SELECT log.drop_partition($1);

-- name: make_detached
SELECT log.make_detached($1);

-- name: finish_detached
SELECT log.finish_detached($1, $2, $3);

-- name: attach_partition
SELECT log.attach_partition($1, $2, $3);

-- name: remove_archived
-- Only the newest: what is archived stays a beginning of the log.
DELETE FROM log.archived WHERE first_position = $1 AND last_position = (SELECT max(last_position) FROM log.archived)
RETURNING first_position;
