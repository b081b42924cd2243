-- name: clear
TRUNCATE customers_v1.customer, customers_v1.profile, customers_v1.activity, customers_v1.tag, customers_v1.tagged,
         customers_v1.search, customers_v1.counter, customers_v1.day, customers_v1.contribution, log.stream;

-- name: index_definitions
-- Indexes that no constraint stands on: they are dropped before the rows come in and made again after.
SELECT pg_get_indexdef(index.indexrelid)
FROM pg_index AS index JOIN pg_class AS of_table ON of_table.oid = index.indrelid
WHERE of_table.relnamespace = $1::regnamespace
  AND NOT EXISTS (SELECT FROM pg_constraint AS owner WHERE owner.conindid = index.indexrelid)
ORDER BY index.indexrelid;

-- name: drop_indexes
DO $$
DECLARE
    dropped regclass;
BEGIN
    FOR dropped IN
        SELECT index.indexrelid
        FROM pg_index AS index JOIN pg_class AS of_table ON of_table.oid = index.indrelid
        WHERE of_table.relnamespace = 'customers_v1'::regnamespace
          AND NOT EXISTS (SELECT FROM pg_constraint AS owner WHERE owner.conindid = index.indexrelid)
    LOOP
        EXECUTE 'DROP INDEX ' || dropped;
    END LOOP;
END $$;

-- name: tags
-- Tag ids go on from there.
WITH made AS (
    INSERT INTO customers_v1.tag (id, tenant, name) OVERRIDING SYSTEM VALUE
    SELECT id, tenant, name FROM unnest($1::integer[], $2::text[], $3::text[]) AS new (id, tenant, name)
)
SELECT setval(pg_get_serial_sequence('customers_v1.tag', 'id'), cardinality($1) + 1, false);

-- name: head
-- Later than before, whatever was there: so that a mark of the read model never comes again.
UPDATE log.head SET position = head.position + $1, recorded_at = now();

-- name: checkpoint
INSERT INTO projection.checkpoint (projection, version, partition, epoch, position, topic_id, topic_offset, event_time)
SELECT 'customers', 1, -1, head.epoch, head.position, '', 0, head.recorded_at FROM log.head
ON CONFLICT ON CONSTRAINT checkpoint_pk DO UPDATE SET position = excluded.position, event_time = excluded.event_time;

-- name: vacuum
VACUUM (ANALYZE);
