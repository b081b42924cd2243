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
SELECT greatest(min(low), (
    SELECT coalesce(max(archived.last_position), 0) FROM log.archived
    WHERE archived.last_recorded_at < now() - make_interval(secs => min(search.seconds))
))
FROM search WHERE low >= high GROUP BY number ORDER BY number;

-- name: read_log
-- One row at least: where the log ended. The page is a statement of its own, which may find a partition
-- gone that this one's snapshot still has as there; so whether one is archived is asked for afterwards.
SELECT coalesce(page.log_end, head.position), page."position", page.id, page.tenant, page.customer_id, page.version, page.type,
       page.schema_version, page.data, page.meta, page.recorded_at, page.sealed, page.wrapped, page.is_destroyed
FROM log.head LEFT JOIN log.page($1, $2, $3) AS page ON true;

-- name: archived_to
-- The last position that is archived; 0 = none is.
SELECT coalesce(max(last_position), 0) FROM log.archived;

-- name: lock_log
-- To be the first statement of a snapshot: then no partition is taken away that it shows as there.
LOCK TABLE ONLY log.event IN ACCESS SHARE MODE;

-- name: read_tenant
-- A page of one tenant's events, in position order, as `log.page` makes one; and the position of the last
-- that was found, which is beyond the page where it goes on. What is scanned is bounded by the positions,
-- since nothing leads to a tenant's events but the log itself. One row at least: how much is archived, at
-- the same moment, for this statement takes its locks before its snapshot.
SELECT archive.last_position, page.last_found,
       page.position, page.id, page.tenant, page.customer_id, page.version, page.type, page.schema_version,
       page.data, page.meta, page.recorded_at, page.sealed, held.wrapped, held.is_destroyed
FROM (SELECT coalesce(max(last_position), 0) AS last_position FROM log.archived) AS archive
LEFT JOIN (
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
) AS page ON bytes <= greatest($3, own_bytes)
LEFT JOIN LATERAL (
    SELECT key.wrapped, key.wrapped IS NULL AS is_destroyed FROM vault.customer_key AS key
    WHERE key.customer_id = page.customer_id AND page.sealed IS NOT NULL OFFSET 0
) AS held ON true
ORDER BY page.position;

-- name: time_after
-- Of the next event that is there: those before it may be archived.
SELECT recorded_at FROM log.event WHERE position > $1 ORDER BY position LIMIT 1;

-- name: read_stream
-- A page of one customer's history; first_position spares the partitions before it. One row at least,
-- where there is such a stream: where it stands, and how much of the log is archived, at the same moment,
-- for this statement takes its locks before its snapshot.
SELECT stream.version, stream.is_closed, (SELECT coalesce(max(last_position), 0) FROM log.archived),
       event.position, event.id, event.tenant, event.customer_id, event.version, event.type,
       event.schema_version, event.data::text, event.meta::text, event.recorded_at,
       event.sealed, key.wrapped, key.customer_id IS NOT NULL AND key.wrapped IS NULL
FROM log.stream
LEFT JOIN vault.customer_key AS key ON key.customer_id = stream.customer_id
LEFT JOIN LATERAL (
    SELECT position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at, sealed
    FROM log.event
    WHERE customer_id = stream.customer_id AND position >= stream.first_position AND version > $3
    ORDER BY version LIMIT $4
) AS event ON true
WHERE stream.customer_id = $2 AND stream.tenant = $1
ORDER BY event.version;

-- name: is_beginning_archived
SELECT stream.first_position <= coalesce(max(archived.last_position), 0)
FROM log.stream LEFT JOIN log.archived ON true
WHERE stream.customer_id = $2 AND stream.tenant = $1 GROUP BY stream.first_position;

-- name: read_snapshot
-- The latest state of a customer after a version, with what opens it. States at later events than what is
-- archived are of a partition that was to be archived, and is in the log.
SELECT snapshot.customer_id, snapshot.tenant, snapshot.version, snapshot.position, snapshot.recorded_at,
       snapshot.schema_version, snapshot.sealed, key.wrapped, key.customer_id IS NOT NULL AND key.wrapped IS NULL
FROM log.snapshot LEFT JOIN vault.customer_key AS key ON key.customer_id = snapshot.customer_id
WHERE snapshot.customer_id = $2 AND snapshot.tenant = $1 AND snapshot.version > $3
  AND snapshot.position <= (SELECT coalesce(max(last_position), 0) FROM log.archived)
ORDER BY snapshot.version DESC LIMIT 1;

-- name: read_customers
-- A page of the log by customer and version, for whoever reads all of it so. One row at least: how much
-- is archived, at the same moment. What is sealed is blank in `data`, so only one of both is made text; and
-- nobody who reads so asks who did it.
SELECT archive.last_position,
       page.position, page.id, page.tenant, page.customer_id, page.version, page.type, page.schema_version,
       CASE WHEN held.wrapped IS NULL THEN page.data::text END, '', page.recorded_at, page.sealed, held.wrapped, held.is_destroyed
FROM (SELECT coalesce(max(last_position), 0) AS last_position FROM log.archived) AS archive
LEFT JOIN (
    SELECT position, id, tenant, customer_id, version, type, schema_version, data, recorded_at, sealed
    FROM log.event WHERE (customer_id, version) > ($1, $2) AND customer_id <= $3
    ORDER BY customer_id, version LIMIT $4
) AS page ON true
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
