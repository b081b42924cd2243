-- What the functions that append do not believe of those who call them.
--
-- Invariants: whatever a caller passes, positions and versions stay without a hole, and an order that
-- the intake records can be read. What does not fit is refused whole, before anything is locked.
--
-- The owner is whoever logged in as the owner of these functions or may become it: who runs a
-- function by its owner's rights is `current_user` there, and who logged in stays `session_user`.

ALTER FUNCTION log.append(
    text[], text[], bigint[], integer[], boolean[], text[], text[], text[], bytea[], smallint[], text[], text[], bytea[], boolean[],
    integer[], integer[], uuid[], text[], smallint[], text[], bytea[], bytea)
    RENAME TO append_checked;
ALTER FUNCTION log.append_checked(
    text[], text[], bigint[], integer[], boolean[], text[], text[], text[], bytea[], smallint[], text[], text[], bytea[], boolean[],
    integer[], integer[], uuid[], text[], smallint[], text[], bytea[], bytea)
    SECURITY INVOKER RESET search_path;

-- Of customers who are deleted, gives their e-mail addresses free, whichever they were.
CREATE FUNCTION log.release_claims_of(customers text[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    closed text[];
BEGIN
    SELECT array_agg(stream.customer_id) INTO closed
    FROM log.stream WHERE stream.customer_id = ANY (customers) AND stream.is_closed;
    -- No index leads from a customer to her claims, so this reads all claims of all tenants, which the
    -- setting above discourages in vain: it happens where her events cannot be read, or hardly ever.
    DELETE FROM log.email_claim AS claim WHERE claim.customer_id = ANY (closed);
END $$;

-- As before (0005_sealing.sql says what holds). The members' arrays are of one length, and so are the
-- events'; events come by member, and those of a member are numbered from 1 to its count. A member that
-- closes a stream has an event; where it names no address to release, whatever the customer holds is released.
CREATE FUNCTION log.append(
    m_tenant text[], m_customer text[], m_expected bigint[], m_count integer[], m_closes boolean[],
    m_claim text[], m_release text[], m_key text[], m_fingerprint bytea[], m_status smallint[],
    m_subject text[], m_meta text[], m_wrapped bytea[], m_is_repeat boolean[],
    e_member integer[], e_place integer[], e_id uuid[], e_type text[], e_schema smallint[], e_data text[], e_sealed bytea[],
    wrapping bytea
) RETURNS TABLE (
    member integer, outcome text, version bigint, "position" bigint, recorded_at timestamptz,
    customer_id text, status smallint, subject text
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    -- As array_dims has it; with bounds of its own, what is looked up by number would be another's.
    members constant text := '[1:' || cardinality(m_tenant) || ']';
    events  constant text := CASE cardinality(e_member) WHEN 0 THEN '' ELSE '[1:' || cardinality(e_member) || ']' END;
    is_consistent boolean;
BEGIN
    is_consistent :=
        members = ALL (ARRAY[
            array_dims(m_tenant), array_dims(m_customer), array_dims(m_expected), array_dims(m_count),
            array_dims(m_closes), array_dims(m_claim), array_dims(m_release), array_dims(m_key),
            array_dims(m_fingerprint), array_dims(m_status), array_dims(m_subject), array_dims(m_meta),
            array_dims(m_wrapped), array_dims(m_is_repeat)])
        AND events = ALL (ARRAY[
            coalesce(array_dims(e_member), ''), coalesce(array_dims(e_place), ''), coalesce(array_dims(e_id), ''),
            coalesce(array_dims(e_type), ''), coalesce(array_dims(e_schema), ''), coalesce(array_dims(e_data), ''),
            coalesce(array_dims(e_sealed), '')])
        AND 0 <= ALL (m_count);
    IF is_consistent THEN
        -- The sum first: it bounds the numbers that are then made of the counts. To close a stream is to
        -- destroy a key, of which the log tells by an event.
        SELECT sum(asked.events) = cardinality(e_member) AND NOT bool_or(asked.closes AND asked.events = 0) INTO is_consistent
        FROM unnest(m_count, m_closes) AS asked (events, closes);
    END IF;
    IF is_consistent AND events <> '' THEN
        SELECT array_agg(numbered.member) = e_member AND array_agg(numbered.place) = e_place INTO is_consistent
        FROM (
            SELECT asked.member::integer AS member, place
            FROM unnest(m_count) WITH ORDINALITY AS asked (events, member), generate_series(1, asked.events) AS place
            ORDER BY asked.member, place
        ) AS numbered;
    END IF;
    IF is_consistent IS NOT TRUE THEN
        RAISE EXCEPTION 'the events are not those of the members'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'append_is_consistent';
    END IF;
    -- Orders have a way of their own, which judges them; the owner tests what others may have written.
    IF 'customer.order_recorded' = ANY (e_type) AND NOT pg_has_role(session_user, current_user, 'MEMBER') THEN
        RAISE EXCEPTION 'permission denied for event customer.order_recorded' USING ERRCODE = 'insufficient_privilege';
    END IF;

    RETURN QUERY
    SELECT done.member, done.outcome, done.version, done.position, done.recorded_at, done.customer_id, done.status, done.subject
    FROM log.append_checked(
        m_tenant, m_customer, m_expected, m_count, m_closes, m_claim, m_release, m_key, m_fingerprint, m_status,
        m_subject, m_meta, m_wrapped, m_is_repeat,
        e_member, e_place, e_id, e_type, e_schema, e_data, e_sealed, wrapping) AS done;

    IF true = ANY (m_closes) THEN
        PERFORM log.release_claims_of(unnamed.customers)
        FROM (
            SELECT array_agg(asked.customer_id) AS customers
            FROM unnest(m_customer, m_closes, m_release) AS asked (customer_id, closes, release)
            WHERE asked.closes AND asked.release IS NULL
        ) AS unnamed WHERE unnamed.customers IS NOT NULL;
    END IF;
END $$;

-- As before (0006_walls.sql), and each order is one: what service.events.OrderRecorded can read, about
-- the order and the version that are given, by the intake itself.
CREATE OR REPLACE FUNCTION log.record_orders(
    o_tenant text[], o_order text[], o_customer text[], o_version bigint[], o_digest bytea[],
    o_id uuid[], o_data text[], o_meta text[], o_is_repeat boolean[], event_type text, event_schema smallint
) RETURNS text[] LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    orders constant text := CASE cardinality(o_order) WHEN 0 THEN '' ELSE '[1:' || cardinality(o_order) || ']' END;
BEGIN
    IF event_type IS DISTINCT FROM 'customer.order_recorded' THEN
        RAISE EXCEPTION 'permission denied for event %', event_type USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF event_schema IS DISTINCT FROM 1
        OR (orders = ALL (ARRAY[
            coalesce(array_dims(o_tenant), ''), coalesce(array_dims(o_order), ''), coalesce(array_dims(o_customer), ''),
            coalesce(array_dims(o_version), ''), coalesce(array_dims(o_digest), ''), coalesce(array_dims(o_id), ''),
            coalesce(array_dims(o_data), ''), coalesce(array_dims(o_meta), ''), coalesce(array_dims(o_is_repeat), '')])) IS NOT TRUE
        OR EXISTS (
            SELECT FROM unnest(o_order, o_version, o_data, o_meta) AS o (order_id, order_version, data, meta)
            CROSS JOIN LATERAL (
                -- OFFSET 0 is a fence: what is taken out once is not taken out anew for each question.
                SELECT told.data, told.data -> 'order' AS fields, told.data #>> '{order,placedAt}' AS placed_at
                FROM (SELECT o.data::jsonb AS data OFFSET 0) AS told OFFSET 0
            ) AS said
            WHERE (
                coalesce(jsonb_typeof(said.fields), '') = 'object'
                AND said.fields -> 'orderId' = to_jsonb(o.order_id)
                AND said.fields -> 'orderVersion' = to_jsonb(o.order_version)
                AND said.fields ->> 'status' IN ('pending', 'placed', 'paid', 'completed', 'cancelled', 'failed')
                AND jsonb_typeof(said.fields -> 'currency') = 'string'
                AND said.fields @@ 'strict $.total >= 0 && $.total <= 9007199254740992 && $.total.floor() == $.total
                    && ($.captured == null
                        || $.captured >= 0 && $.captured <= 9007199254740992 && $.captured.floor() == $.captured)
                    && ($.refunded == null
                        || $.refunded >= 0 && $.refunded <= 9007199254740992 && $.refunded.floor() == $.refunded)
                    && ($.test == true || $.test == false)'::jsonpath
                -- A time in UTC with milliseconds; a regular expression for it takes ten times as long.
                AND said.placed_at LIKE '____-__-__T__:__:__.___Z'
                AND translate(said.placed_at, '0123456789', '') = '--T::.Z'
                AND substr(said.placed_at, 12, 2) < '24' COLLATE "C"
                AND substr(said.placed_at, 15, 1) < '6' COLLATE "C"
                AND substr(said.placed_at, 18, 1) < '6' COLLATE "C"
                AND isfinite(left(said.placed_at, 10)::date)  -- an error of its own where there is no such day
                AND said.data - 'order' = '{}'
                AND said.fields - '{orderId,orderVersion,status,currency,total,captured,refunded,placedAt,test}'::text[] = '{}'
                -- Word for word what the intake writes, for to parse it costs half of all: with so many
                -- quotes and none that is escaped, there is room for these fields and no other.
                AND o.meta LIKE '{"actor":{"type":"system","id":"intake"},"requestId":"%"}'
                AND strpos(o.meta, chr(92)) = 0
                AND CASE length(o.meta) - length(replace(o.meta, '"', ''))
                    WHEN 14 THEN true
                    WHEN 18 THEN o.meta LIKE '%","traceparent":"%'
                END
            ) IS NOT TRUE
        )
    THEN
        RAISE EXCEPTION 'what is to be recorded is no order'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'order_is_whole';
    END IF;
    RETURN log.record_any_orders(
        o_tenant, o_order, o_customer, o_version, o_digest, o_id, o_data, o_meta, o_is_repeat, event_type, event_schema);
END $$;

-- As before (0006_walls.sql), and what a repeat needs for its answer is kept as long as is promised.
CREATE OR REPLACE FUNCTION log.forget_old_keys(kept_seconds double precision, records_max integer)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    promised_seconds constant double precision := 7 * 24 * 3600;
    forgotten integer;
BEGIN
    IF (kept_seconds >= promised_seconds) IS NOT TRUE AND NOT pg_has_role(session_user, current_user, 'MEMBER') THEN
        RAISE EXCEPTION 'permission denied to forget idempotency keys before their time' USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM log.idempotency WHERE (tenant, key) IN (
        SELECT tenant, key FROM log.idempotency WHERE recorded_at < now() - make_interval(secs => kept_seconds)
        LIMIT records_max FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END $$;

-- Whoever may look into the schema must not thereby have its owner's rights.
REVOKE ALL ON ALL ROUTINES IN SCHEMA log FROM PUBLIC;
