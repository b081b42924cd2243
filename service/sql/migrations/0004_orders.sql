-- Orders: which version of each was accepted last, and the one way in which they enter the log.

CREATE TABLE log.accepted_order (
    tenant        text COLLATE "C" NOT NULL,  -- whose order it is
    order_id      text COLLATE "C" NOT NULL,  -- the shop's own, unique per tenant
    customer_id   text COLLATE "C" NOT NULL,  -- the same in every version of the order
    order_version bigint           NOT NULL,  -- the last one accepted: only a higher one follows
    digest        bytea            NOT NULL,  -- of what that version said: tells a repeat from other content
    CONSTRAINT accepted_order_pk PRIMARY KEY (tenant, order_id),
    CONSTRAINT accepted_order_version_from_one CHECK (order_version >= 1)
) WITH (fillfactor = 85);

-- Records a batch of order messages, in their order. One array per field, one entry per message.
--
-- Invariants: as in log.append, positions are contiguous, because the head is read and bumped under
-- the same lock, taken in a statement of its own. Each message is judged alone, against what is
-- committed; one about an order that the batch has named before (`o_is_repeat`) is sent back
-- ('again'), so that messages about one order are judged one after the other. Nothing is written
-- where nothing is recorded. A closed stream still takes orders, and stays closed.
--
-- Outcomes, one per message: recorded, older, repeated, version_reused, customer_changed,
-- unknown_customer, unknown_tenant, again.
CREATE FUNCTION log.record_orders(
    o_tenant text[], o_order text[], o_customer text[], o_version bigint[], o_digest bytea[],
    o_id uuid[], o_data text[], o_meta text[], o_is_repeat boolean[], event_type text, event_schema smallint
) RETURNS text[] LANGUAGE plpgsql
-- Plans are kept for the session: never let one made on an empty table scan a large one.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    headroom constant bigint := 1000000;
    present  log.head;
    outcomes text[];
    written  bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7305002);
    SELECT * INTO STRICT present FROM log.head;
    IF present.position + headroom > present.partitioned_to THEN
        PERFORM log.add_partition();
    END IF;
    present.recorded_at := greatest(present.recorded_at, date_trunc('milliseconds', clock_timestamp()));

    WITH asked AS (
        SELECT tenant COLLATE "C" AS tenant, order_id COLLATE "C" AS order_id, customer_id COLLATE "C" AS customer_id,
               order_version, digest, is_repeat, number
        FROM unnest(o_tenant, o_order, o_customer, o_version, o_digest, o_is_repeat)
            WITH ORDINALITY AS o (tenant, order_id, customer_id, order_version, digest, is_repeat, number)
    ), judged AS MATERIALIZED (
        SELECT asked.*, stream.version AS old_version,
               CASE
                   WHEN asked.is_repeat THEN 'again'
                   WHEN tenant.name IS NULL THEN 'unknown_tenant'
                   WHEN held.customer_id <> asked.customer_id THEN 'customer_changed'
                   WHEN held.order_version > asked.order_version THEN 'older'
                   WHEN held.order_version = asked.order_version AND held.digest = asked.digest THEN 'repeated'
                   WHEN held.order_version = asked.order_version THEN 'version_reused'
                   WHEN stream.customer_id IS NULL THEN 'unknown_customer'
                   ELSE 'recorded'
               END AS outcome
        FROM asked
        LEFT JOIN access.tenant ON tenant.name = asked.tenant
        LEFT JOIN log.accepted_order AS held ON held.tenant = asked.tenant AND held.order_id = asked.order_id
        LEFT JOIN log.stream ON stream.customer_id = asked.customer_id AND stream.tenant = asked.tenant
    ), placed AS MATERIALIZED (
        SELECT judged.*,
               present.position + row_number() OVER (ORDER BY number) AS position,
               old_version + row_number() OVER (PARTITION BY customer_id ORDER BY number) AS version
        FROM judged WHERE outcome = 'recorded'
    ), bumped AS (
        UPDATE log.head SET position = ends.position, recorded_at = present.recorded_at
        FROM (SELECT max(position) AS position FROM placed) AS ends WHERE is_only AND ends.position IS NOT NULL
    ), new_events AS (
        INSERT INTO log.event (position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at)
        SELECT position, o_id[number], tenant, customer_id, version, event_type, event_schema,
               o_data[number]::jsonb, o_meta[number]::jsonb, present.recorded_at
        FROM placed ORDER BY position
    ), moved_streams AS (
        UPDATE log.stream SET version = ends.version, position = ends.position
        FROM (SELECT customer_id, max(version) AS version, max(position) AS position FROM placed GROUP BY customer_id) AS ends
        WHERE stream.customer_id = ends.customer_id
    ), accepted AS (
        INSERT INTO log.accepted_order (tenant, order_id, customer_id, order_version, digest)
        SELECT tenant, order_id, customer_id, order_version, digest FROM placed
        ON CONFLICT ON CONSTRAINT accepted_order_pk DO UPDATE
        SET order_version = excluded.order_version, digest = excluded.digest
    )
    SELECT coalesce(array_agg(outcome ORDER BY number), '{}') INTO outcomes FROM judged;

    -- A hint for readers that listen; polling is the truth.
    SELECT head.position INTO written FROM log.head;
    IF written > present.position THEN
        PERFORM pg_notify('customers_log', written::text);
    END IF;
    RETURN outcomes;
END $$;
