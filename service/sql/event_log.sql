-- name: append
SELECT member, outcome, version, position, recorded_at, customer_id, status, subject
FROM log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);

-- name: find_appended
SELECT member, version, position, recorded_at FROM log.find_appended($1, $2);

-- name: head
SELECT epoch, position, recorded_at FROM log.head;

-- name: read_log
-- A page of the whole log, in position order: its beginning that stays within so many bytes of text,
-- or its first event; and where the log ended at the same moment. What is stored is weighed first,
-- which reads no value, so that of a page of large events only what may fit is made text. The text is
-- weighed once more, because a value may be stored compressed.
SELECT (SELECT position FROM log.head) AS log_end,
       position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at
FROM (
    SELECT position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at,
           octet_length(data) + octet_length(meta) AS own_bytes,
           sum(octet_length(data) + octet_length(meta)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (
        SELECT position, id, tenant, customer_id, version, type, schema_version,
               data::text AS data, meta::text AS meta, recorded_at
        FROM (
            SELECT position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at,
                   pg_column_size(data) AS own_bytes,
                   sum(pg_column_size(data)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
            FROM log.event WHERE position > $1 AND position <= $2
        ) AS stored
        WHERE bytes <= greatest($3, own_bytes)
        ORDER BY position OFFSET 0  -- a fence: each value is made text once
    ) AS told
) AS page
WHERE bytes <= greatest($3, own_bytes) ORDER BY position;

-- name: read_stream
-- A page of one customer's history; first_position spares the partitions before it.
SELECT event.position, event.id, event.tenant, event.customer_id, event.version, event.type,
       event.schema_version, event.data::text, event.meta::text, event.recorded_at
FROM log.stream JOIN log.event ON event.customer_id = stream.customer_id
                              AND event.position >= stream.first_position
WHERE stream.customer_id = $2 AND stream.tenant = $1 AND event.version > $3
ORDER BY event.version LIMIT $4;

-- name: stream_and_key
-- Where a customer's stream stands, and what is known of an idempotency key; one row always.
SELECT stream.version, stream.position, stream.is_closed,
       known.fingerprint, known.customer_id, known.version, known.position, known.status, known.subject
FROM (SELECT 1) AS one
LEFT JOIN log.stream ON stream.customer_id = $2 AND stream.tenant = $1
LEFT JOIN log.idempotency AS known ON known.tenant = $1 AND known.key = $3;

-- name: forget_old_keys
-- A bounded bite of the idempotency records that are older than so many seconds.
DELETE FROM log.idempotency WHERE (tenant, key) IN (
    SELECT tenant, key FROM log.idempotency WHERE recorded_at < now() - make_interval(secs => $1)
    LIMIT $2 FOR UPDATE SKIP LOCKED
);
