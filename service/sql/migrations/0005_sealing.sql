-- Personal data is sealed under one key for each customer, and a deletion destroys that key.

-- What was written before lies in clear in a log that is never changed: it could not be forgotten.
DO $$ BEGIN
    IF EXISTS (SELECT FROM log.head WHERE position > 0) OR EXISTS (SELECT FROM access.master_key) THEN
        RAISE EXCEPTION 'the log began before personal data was sealed'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'log_sealed_from_the_start';
    END IF;
END $$;

CREATE SCHEMA vault;

-- At most one row: which of the master's keys wraps now. What another has wrapped is not taken in, so
-- that after a rotation nothing is left that only the old key opens.
CREATE TABLE vault.wrapping_key (
    is_only     boolean        NOT NULL DEFAULT true,
    id          bytea          NOT NULL,  -- derived from the key; tells nothing about it
    switched_at timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT wrapping_key_pk PRIMARY KEY (is_only),
    CONSTRAINT wrapping_key_is_one_row CHECK (is_only)
);

-- One row for each customer ever made. A customer without a row is a loss; one whose key is NULL is
-- forgotten: the two are never taken for each other.
CREATE TABLE vault.customer_key (
    customer_id  text COLLATE "C" NOT NULL,
    wrapped      bytea,           -- the customer's key, wrapped: first the id of the key that wrapped it; NULL = destroyed
    destroyed_at timestamptz(3),  -- when the customer was deleted; NULL = lives
    CONSTRAINT customer_key_pk PRIMARY KEY (customer_id),
    CONSTRAINT customer_key_lives_or_is_destroyed CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
) WITH (fillfactor = 90, autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);
-- The settings of autovacuum: a destroyed key lies in a dead row until the next VACUUM, which so comes
-- within a minute or two, and reads only the pages that have changed.

-- Keys and addresses are random to the planner, and statistics would keep some of them.
ALTER TABLE vault.customer_key ALTER COLUMN wrapped SET STATISTICS 0;
ALTER TABLE log.event ALTER COLUMN sealed SET STATISTICS 0;
COMMENT ON COLUMN log.email_claim.email IS 'a keyed digest of the address: nobody can tell it, or try addresses, without the master key';
COMMENT ON COLUMN log.idempotency.key IS 'a keyed digest of the key that was given';
COMMENT ON COLUMN log.idempotency.fingerprint IS 'a keyed digest of method, path and body; no body is kept';

DROP FUNCTION log.append(
    text[], text[], bigint[], integer[], boolean[], text[], text[], text[], bytea[], smallint[], text[], text[], boolean[],
    integer[], integer[], uuid[], text[], smallint[], text[]);

-- As before (0001_log.sql says what holds), and with the personal fields sealed: `e_sealed` is the whole
-- event, encrypted, where it has any, and `e_data` the event with those fields blank. A creation brings
-- the customer's key, wrapped by the key that `wrapping` names; a deletion destroys it in this commit.
CREATE FUNCTION log.append(
    m_tenant text[], m_customer text[], m_expected bigint[], m_count integer[], m_closes boolean[],
    m_claim text[], m_release text[], m_key text[], m_fingerprint bytea[], m_status smallint[],
    m_subject text[], m_meta text[], m_wrapped bytea[], m_is_repeat boolean[],
    e_member integer[], e_place integer[], e_id uuid[], e_type text[], e_schema smallint[], e_data text[], e_sealed bytea[],
    wrapping bytea
) RETURNS TABLE (
    member integer, outcome text, version bigint, "position" bigint, recorded_at timestamptz,
    customer_id text, status smallint, subject text
) LANGUAGE plpgsql
-- Plans are kept for the session: never let one made on an empty table scan a large one.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    headroom constant bigint := 1000000;
    present  log.head;
    written  bigint;
    wraps    bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(7305002);
    SELECT * INTO STRICT present FROM log.head;
    IF present.position + headroom > present.partitioned_to THEN
        PERFORM log.add_partition();
    END IF;
    IF wrapping IS NOT NULL THEN
        SELECT id INTO wraps FROM vault.wrapping_key;
        IF wraps IS NULL THEN
            INSERT INTO vault.wrapping_key (id) VALUES (wrapping);
        ELSIF wraps <> wrapping THEN
            RAISE EXCEPTION 'the keys of new customers are wrapped by a retired master key'
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'wrapping_key_retired';
        END IF;
    END IF;
    present.recorded_at := greatest(present.recorded_at, date_trunc('milliseconds', clock_timestamp()));

    RETURN QUERY
    WITH asked AS (
        SELECT * FROM unnest(m_tenant, m_customer, m_expected, m_count, m_closes, m_claim, m_release,
                             m_key, m_fingerprint, m_status, m_subject, m_meta, m_wrapped, m_is_repeat)
            WITH ORDINALITY AS m (tenant, customer_id, expected, events, closes, claim, release,
                                  key, fingerprint, status, subject, meta, wrapped, is_repeat, member)
    ), judged AS MATERIALIZED (
        SELECT asked.*, coalesce(stream.version, 0) AS old_version, stream.position AS old_position,
               known.customer_id AS known_customer, known.version AS known_version,
               known.position AS known_position, known.status AS known_status, known.subject AS known_subject,
               CASE
                   WHEN known.key IS NOT NULL AND known.fingerprint = asked.fingerprint THEN 'replayed'
                   WHEN known.key IS NOT NULL THEN 'key_reused'
                   WHEN asked.expected IS NULL AND (stream.is_closed IS NOT FALSE) THEN 'version_conflict'
                   WHEN asked.expected <> coalesce(stream.version, 0) THEN 'version_conflict'
                   WHEN stream.tenant <> asked.tenant THEN 'version_conflict'
                   WHEN claim.customer_id <> asked.customer_id THEN 'email_taken'
                   WHEN asked.is_repeat THEN 'again'
                   ELSE 'appended'
               END AS outcome
        FROM asked
        LEFT JOIN log.stream ON stream.customer_id = asked.customer_id
        LEFT JOIN log.email_claim AS claim ON claim.tenant = asked.tenant AND claim.email = asked.claim
        LEFT JOIN log.idempotency AS known ON known.tenant = asked.tenant AND known.key = asked.key
    ), placed AS MATERIALIZED (
        SELECT judged.*, outcome = 'appended' AS is_appended,
               present.position + sum(CASE outcome WHEN 'appended' THEN events ELSE 0 END) OVER (ORDER BY member) AS last_position
        FROM judged
    ), places AS (
        -- By member number: the position before its first event (-1 = not appended), its old version.
        SELECT array_agg(CASE WHEN is_appended THEN last_position - events ELSE -1 END ORDER BY member) AS before,
               array_agg(old_version ORDER BY member) AS version,
               max(last_position) AS last_position
        FROM placed
    ), bumped AS (
        UPDATE log.head SET position = places.last_position, recorded_at = present.recorded_at
        FROM places WHERE is_only AND places.last_position > present.position
    ), new_events AS (
        INSERT INTO log.event (position, id, tenant, customer_id, version, type, schema_version, data, sealed, meta, recorded_at)
        SELECT places.before[e.member] + e.place, e.id, m_tenant[e.member], m_customer[e.member],
               places.version[e.member] + e.place, e.type, e.schema_version, e.data::jsonb, e.sealed, m_meta[e.member]::jsonb, present.recorded_at
        FROM places, unnest(e_member, e_place, e_id, e_type, e_schema, e_data, e_sealed)
                     AS e (member, place, id, type, schema_version, data, sealed)
        WHERE places.before[e.member] >= 0
    ), new_streams AS (
        INSERT INTO log.stream AS stream (customer_id, tenant, version, position, first_position, is_closed)
        SELECT customer_id, tenant, old_version + events, last_position, last_position - events + 1, closes
        FROM placed WHERE is_appended AND events > 0
        ON CONFLICT ON CONSTRAINT stream_pk DO UPDATE
        SET version = excluded.version, position = excluded.position, is_closed = stream.is_closed OR excluded.is_closed
    ), released AS (
        DELETE FROM log.email_claim AS claim USING placed
        WHERE placed.is_appended AND claim.tenant = placed.tenant AND claim.email = placed.release
    ), claimed AS (
        INSERT INTO log.email_claim (tenant, email, customer_id)
        SELECT tenant, claim, customer_id FROM placed WHERE is_appended AND claim IS NOT NULL
    ), new_keys AS (
        INSERT INTO vault.customer_key (customer_id, wrapped)
        SELECT customer_id, wrapped FROM placed WHERE is_appended AND wrapped IS NOT NULL
    ), destroyed_keys AS (
        -- Where the row was lost, the deletion makes it: what cannot be opened is forgotten all the same.
        INSERT INTO vault.customer_key AS held (customer_id, wrapped, destroyed_at)
        SELECT customer_id, NULL, present.recorded_at FROM placed WHERE is_appended AND closes
        ON CONFLICT ON CONSTRAINT customer_key_pk DO UPDATE
        SET wrapped = NULL, destroyed_at = excluded.destroyed_at
    ), remembered AS (
        INSERT INTO log.idempotency (tenant, key, fingerprint, status, customer_id, version, position, subject, recorded_at)
        SELECT tenant, key, fingerprint, status, customer_id, old_version + events,
               CASE WHEN events > 0 THEN last_position ELSE old_position END, subject, present.recorded_at
        FROM placed WHERE is_appended AND key IS NOT NULL
    )
    SELECT placed.member::integer, placed.outcome,
           CASE outcome WHEN 'replayed' THEN known_version WHEN 'appended' THEN old_version + events ELSE old_version END,
           CASE WHEN outcome = 'replayed' THEN known_position WHEN is_appended AND events > 0 THEN last_position::bigint ELSE old_position END,
           present.recorded_at, known_customer, known_status, known_subject
    FROM placed ORDER BY placed.member;

    -- A hint for readers that listen; polling is the truth.
    SELECT head.position INTO written FROM log.head;
    IF written > present.position THEN
        PERFORM pg_notify('customers_log', written::text);
    END IF;
END $$;
