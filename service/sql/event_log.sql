-- name: append
SELECT member, outcome, version, position, recorded_at, customer_id, status, subject
FROM log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22);

-- name: find_appended
SELECT member, version, position, recorded_at FROM log.find_appended($1, $2);

-- name: head
SELECT epoch, position, recorded_at FROM log.head;

-- name: ids
SELECT position, id FROM log.event WHERE position = ANY ($1) ORDER BY position;

-- name: last_older_than
-- For each of the ages $1, in seconds: position of the last event that is older, 0 = none. A binary
-- search, for times never go back as positions rise. Where events are missing the next one that is
-- there is asked; each step halves what is left all the same, so there is an end.
WITH RECURSIVE search AS (
    SELECT asked.number, asked.seconds, 0::bigint AS low, head.position AS high
    FROM log.head, unnest($1::float8[]) WITH ORDINALITY AS asked (seconds, number)
    UNION ALL
    SELECT search.number, search.seconds,
           CASE WHEN event.is_older THEN event.position ELSE search.low END,
           CASE WHEN event.is_older THEN search.high ELSE (search.low + search.high + 1) / 2 - 1 END
    FROM search
    LEFT JOIN LATERAL (
        SELECT event.position, event.recorded_at < now() - make_interval(secs => search.seconds) AS is_older
        FROM log.event WHERE event.position >= (search.low + search.high + 1) / 2 ORDER BY event.position LIMIT 1
    ) AS event ON true
    WHERE search.low < search.high
)
SELECT min(low) FROM search WHERE low >= high GROUP BY number ORDER BY number;

-- name: read_log
SELECT log_end, "position", id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at,
       sealed, wrapped, is_destroyed
FROM log.page($1, $2, $3);

-- name: read_tenant
-- A page of one tenant's events, in position order, as `log.page` makes one; and the position of the last
-- that was found, which is beyond the page where it goes on. What is scanned is bounded by the positions,
-- since nothing leads to a tenant's events but the log itself.
SELECT page.last_found,
       page.position, page.id, page.tenant, page.customer_id, page.version, page.type, page.schema_version,
       page.data, page.meta, page.recorded_at, page.sealed, held.wrapped, held.is_destroyed
FROM (
    SELECT position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at, sealed, last_found,
           greatest(octet_length(data), octet_length(sealed)) + octet_length(meta) AS own_bytes,
           sum(greatest(octet_length(data), octet_length(sealed)) + octet_length(meta))
               OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (
        SELECT position, id, tenant, customer_id, version, type, schema_version,
               data::text AS data, meta::text AS meta, recorded_at, sealed, last_found
        FROM (
            SELECT position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at, sealed,
                   max(position) OVER () AS last_found,
                   row_number() OVER (ORDER BY position) AS place,
                   greatest(pg_column_size(data), pg_column_size(sealed)) AS own_bytes,
                   sum(greatest(pg_column_size(data), pg_column_size(sealed)))
                       OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
            FROM (
                SELECT position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at, sealed
                FROM log.event WHERE position > $1 AND position <= $2 AND tenant = $4
                    AND ($5::text[] IS NULL OR type = ANY ($5) OR type || '.v' || schema_version = ANY ($5))
                ORDER BY position LIMIT $6 + 1
            ) AS found
        ) AS stored
        WHERE bytes <= greatest($3, own_bytes) AND place <= $6
        ORDER BY position OFFSET 0  -- a fence: each value is made text once
    ) AS told
) AS page
LEFT JOIN LATERAL (
    SELECT key.wrapped, key.wrapped IS NULL AS is_destroyed FROM vault.customer_key AS key
    WHERE key.customer_id = page.customer_id AND page.sealed IS NOT NULL OFFSET 0
) AS held ON true
WHERE bytes <= greatest($3, own_bytes) ORDER BY page.position;

-- name: time_after
SELECT recorded_at FROM log.event WHERE position = $1 + 1;

-- name: read_stream
-- A page of one customer's history; first_position spares the partitions before it.
SELECT event.position, event.id, event.tenant, event.customer_id, event.version, event.type,
       event.schema_version, event.data::text, event.meta::text, event.recorded_at,
       event.sealed, key.wrapped, key.customer_id IS NOT NULL AND key.wrapped IS NULL
FROM log.stream
LEFT JOIN vault.customer_key AS key ON key.customer_id = stream.customer_id
JOIN log.event ON event.customer_id = stream.customer_id AND event.position >= stream.first_position
WHERE stream.customer_id = $2 AND stream.tenant = $1 AND event.version > $3
ORDER BY event.version LIMIT $4;

-- name: read_customers
-- A page of the log by customer and version, for whoever reads all of it so. What is sealed is blank in `data`,
-- so only one of both is made text; and nobody who reads so asks who did it.
SELECT page.position, page.id, page.tenant, page.customer_id, page.version, page.type, page.schema_version,
       CASE WHEN held.wrapped IS NULL THEN page.data::text END, '', page.recorded_at, page.sealed, held.wrapped, held.is_destroyed
FROM (
    SELECT position, id, tenant, customer_id, version, type, schema_version, data, recorded_at, sealed
    FROM log.event WHERE (customer_id, version) > ($1, $2) AND customer_id <= $3
    ORDER BY customer_id, version LIMIT $4
) AS page
LEFT JOIN LATERAL (
    SELECT key.wrapped, key.wrapped IS NULL AS is_destroyed FROM vault.customer_key AS key
    WHERE key.customer_id = page.customer_id AND page.sealed IS NOT NULL OFFSET 0
) AS held ON true
ORDER BY page.customer_id, page.version;

-- name: customer_key
-- A customer's key, and whether it is destroyed; no row where there is no such customer.
SELECT key.wrapped, key.customer_id IS NOT NULL AND key.wrapped IS NULL
FROM log.stream LEFT JOIN vault.customer_key AS key ON key.customer_id = stream.customer_id
WHERE stream.customer_id = $1;

-- name: wrapping_key
-- The id of the key that wraps now; no row before the first customer.
SELECT id FROM vault.wrapping_key;

-- name: stream_and_key
-- Where a customer's stream stands, and what is known of an idempotency key; one row always.
SELECT stream.version, stream.position, stream.is_closed,
       known.fingerprint, known.customer_id, known.version, known.position, known.status, known.subject
FROM (SELECT 1) AS one
LEFT JOIN log.stream ON stream.customer_id = $2 AND stream.tenant = $1
LEFT JOIN log.idempotency AS known ON known.tenant = $1 AND known.key = $3;

-- name: forget_old_keys
-- A bounded bite of the idempotency records that are older than so many seconds; how many.
SELECT log.forget_old_keys($1, $2);
