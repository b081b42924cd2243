-- Who may append, and no more: the functions that write the log do so by their owner's rights, so that
-- those who call them need none on the tables. What calls whom is granted in ../rights.sql.
--
-- Invariant: a function that runs by its owner's rights finds names in pg_catalog alone, whatever the
-- caller has made; pg_temp is named because it would come first where it is not.

ALTER FUNCTION log.append(
    text[], text[], bigint[], integer[], boolean[], text[], text[], text[], bytea[], smallint[], text[], text[], bytea[], boolean[],
    integer[], integer[], uuid[], text[], smallint[], text[], bytea[], bytea)
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;

ALTER FUNCTION log.add_partition() SET search_path = pg_catalog, pg_temp;

-- Whoever takes orders in appends orders and nothing else.
ALTER FUNCTION log.record_orders(
    text[], text[], text[], bigint[], bytea[], uuid[], text[], text[], boolean[], text, smallint)
    RENAME TO record_any_orders;

CREATE FUNCTION log.record_orders(
    o_tenant text[], o_order text[], o_customer text[], o_version bigint[], o_digest bytea[],
    o_id uuid[], o_data text[], o_meta text[], o_is_repeat boolean[], event_type text, event_schema smallint
) RETURNS text[] LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF event_type IS DISTINCT FROM 'customer.order_recorded' THEN
        RAISE EXCEPTION 'permission denied for event %', event_type USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN log.record_any_orders(
        o_tenant, o_order, o_customer, o_version, o_digest, o_id, o_data, o_meta, o_is_repeat, event_type, event_schema);
END $$;

-- Forgets a bounded bite of the idempotency records that are older than so many seconds; how many.
CREATE FUNCTION log.forget_old_keys(kept_seconds double precision, records_max integer)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    forgotten integer;
BEGIN
    DELETE FROM log.idempotency WHERE (tenant, key) IN (
        SELECT tenant, key FROM log.idempotency WHERE recorded_at < now() - make_interval(secs => kept_seconds)
        LIMIT records_max FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END $$;

-- Whoever may look into the schema must not thereby have its owner's rights.
REVOKE ALL ON ALL ROUTINES IN SCHEMA log FROM PUBLIC;
