-- Reading the log by pages, whatever size its tables had when the first page was read.

-- A page of the whole log, in position order: its beginning that stays within so many bytes of text,
-- or its first event; and where the log ended at the same moment. What is stored is weighed first,
-- which reads no value, so that of a page of large events only what may fit is made text. The text is
-- weighed once more, because a value may be stored compressed.
--
-- A session keeps its plan. One that was made while there were few keys would read all of them for
-- every event, until the next ANALYZE: so nothing here is ever scanned.
CREATE FUNCTION log.page(after bigint, upto bigint, bytes_max bigint)
RETURNS TABLE (
    log_end bigint, "position" bigint, id uuid, tenant text, customer_id text, version bigint, type text,
    schema_version smallint, data text, meta text, recorded_at timestamptz, sealed bytea, wrapped bytea, is_destroyed boolean
) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT (SELECT position FROM log.head) AS log_end,
           page.position, page.id, page.tenant, page.customer_id, page.version, page.type, page.schema_version,
           page.data, page.meta, page.recorded_at, page.sealed, held.wrapped, held.is_destroyed
    FROM (
        SELECT position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at, sealed,
               greatest(octet_length(data), octet_length(sealed)) + octet_length(meta) AS own_bytes,
               sum(greatest(octet_length(data), octet_length(sealed)) + octet_length(meta))
                   OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
        FROM (
            SELECT position, id, tenant, customer_id, version, type, schema_version,
                   data::text AS data, meta::text AS meta, recorded_at, sealed
            FROM (
                SELECT position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at, sealed,
                       greatest(pg_column_size(data), pg_column_size(sealed)) AS own_bytes,
                       sum(greatest(pg_column_size(data), pg_column_size(sealed)))
                           OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
                FROM log.event WHERE position > after AND position <= upto
            ) AS stored
            WHERE bytes <= greatest(bytes_max, own_bytes)
            ORDER BY position OFFSET 0  -- a fence: each value is made text once
        ) AS told
    ) AS page
    LEFT JOIN LATERAL (
        SELECT key.wrapped, key.wrapped IS NULL AS is_destroyed FROM vault.customer_key AS key
        WHERE key.customer_id = page.customer_id AND page.sealed IS NOT NULL OFFSET 0
    ) AS held ON true
    WHERE bytes <= greatest(bytes_max, own_bytes) ORDER BY page.position;
END $$;
