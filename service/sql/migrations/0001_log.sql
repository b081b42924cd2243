-- The log: every event, in one order, for ever; and what must change in the same commit with it.

CREATE SCHEMA log;

-- One row: how far the log goes. Bumped once per batch, under the append lock.
CREATE TABLE log.head (
    is_only        boolean        NOT NULL DEFAULT true,
    epoch          text           NOT NULL,  -- made when the log is created or restored; travels with every position
    position       bigint         NOT NULL,  -- of the last event; 0 = none yet
    recorded_at    timestamptz(3) NOT NULL,  -- of the last event; never goes back
    partitioned_to bigint         NOT NULL,  -- partitions exist for positions below this
    CONSTRAINT head_pk PRIMARY KEY (is_only),
    CONSTRAINT head_is_one_row CHECK (is_only),
    CONSTRAINT head_position_not_negative CHECK (position >= 0)
) WITH (fillfactor = 10);

CREATE TABLE log.event (
    position       bigint           NOT NULL,  -- place in the log: contiguous, visible in this order
    id             uuid             NOT NULL,  -- shown as evt_…
    tenant         text COLLATE "C" NOT NULL,
    customer_id    text COLLATE "C" NOT NULL,  -- whom the event is about; also names the stream
    version        bigint           NOT NULL,  -- place in that stream: 1, 2, 3 … without gaps
    type           text COLLATE "C" NOT NULL,  -- stored name of the event model
    schema_version smallint         NOT NULL,  -- version of the event model that wrote `data`
    data           jsonb            NOT NULL,  -- the event's fields
    sealed         bytea,                      -- personal fields, encrypted under the customer's own key
    meta           jsonb            NOT NULL,  -- actor, request id, traceparent
    recorded_at    timestamptz(3)   NOT NULL,
    CONSTRAINT event_pk PRIMARY KEY (position),
    CONSTRAINT event_position_from_one CHECK (position >= 1),
    CONSTRAINT event_version_from_one CHECK (version >= 1)
) PARTITION BY RANGE (position);

-- One customer's whole history, in order. Not unique: the stream's row is the concurrency guard.
CREATE INDEX event_by_stream ON log.event (customer_id, version);

CREATE TABLE log.stream (
    customer_id    text COLLATE "C" NOT NULL,
    tenant         text COLLATE "C" NOT NULL,
    version        bigint           NOT NULL,  -- of its last event: compare-and-set guards every append
    position       bigint           NOT NULL,  -- of its last event
    first_position bigint           NOT NULL,  -- of its first event: spares reading older partitions
    is_closed      boolean          NOT NULL DEFAULT false,  -- the customer was deleted
    CONSTRAINT stream_pk PRIMARY KEY (customer_id)
) WITH (fillfactor = 85);

CREATE TABLE log.email_claim (
    tenant      text COLLATE "C" NOT NULL,
    email       text COLLATE "C" NOT NULL,  -- the stored form: trimmed, lower-cased whole
    customer_id text COLLATE "C" NOT NULL,  -- the living customer who holds it
    CONSTRAINT email_claim_pk PRIMARY KEY (tenant, email)
);

-- What a repeat of a request needs to answer the same again: the body follows from the version.
CREATE TABLE log.idempotency (
    tenant      text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    fingerprint bytea            NOT NULL,  -- of method, path and body
    status      smallint         NOT NULL,  -- HTTP status that was answered; only 2xx are kept
    customer_id text COLLATE "C" NOT NULL,
    version     bigint           NOT NULL,  -- the customer's version that the answer showed
    position    bigint           NOT NULL,  -- the Log-Position that was answered
    subject     text COLLATE "C",           -- the address that was answered, where it was one
    recorded_at timestamptz(3)   NOT NULL,
    CONSTRAINT idempotency_pk PRIMARY KEY (tenant, key)
);
CREATE INDEX idempotency_by_time ON log.idempotency USING brin (recorded_at) WITH (pages_per_range = 16);

-- The log is append-only, for everybody, whatever rights they have.
CREATE FUNCTION log.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only' USING ERRCODE = 'restrict_violation', CONSTRAINT = 'event_append_only';
END $$;
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE ON log.event
    FOR EACH ROW EXECUTE FUNCTION log.refuse_change();
CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON log.event
    FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();

-- Makes the next partition. Called with the append lock held, well before it is needed.
CREATE FUNCTION log.add_partition() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    size    constant bigint := 10000000;
    starts  bigint;
    name    text;
BEGIN
    SELECT partitioned_to INTO STRICT starts FROM log.head;
    name := 'event_' || to_char(starts / size, 'FM000000');
    -- Made apart and then attached: that lock does not wait for, or stop, readers and writers.
    EXECUTE format('CREATE TABLE log.%I (LIKE log.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('ALTER TABLE log.event ATTACH PARTITION log.%I FOR VALUES FROM (%s) TO (%s)', name, starts, starts + size);
    EXECUTE format('CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON log.%I FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change()', name);
    UPDATE log.head SET partitioned_to = starts + size WHERE is_only;
END $$;

INSERT INTO log.head (epoch, position, recorded_at, partitioned_to)
    VALUES (replace(gen_random_uuid()::text, '-', ''), 0, to_timestamp(0), 0);
SELECT log.add_partition();

-- Appends a batch of commands ("members"). One array per field, one entry per member or event.
--
-- Invariants: positions are contiguous, because the only bump of log.head happens here under a lock
-- that is taken in a statement of its own, before anything is read (a statement's snapshot is older
-- than a lock it waits for). Every member succeeds or fails alone. A member that shares a stream, an
-- e-mail or a key with an earlier one of its batch (`m_is_repeat`) is judged against what is
-- committed and otherwise sent back ('again'), so members of one statement never touch one row twice.
--
-- m_expected: the stream's version the command was decided on; 0 = no stream; NULL = any open stream.
-- Outcomes: appended, again, replayed, key_reused, version_conflict, email_taken.
CREATE FUNCTION log.append(
    m_tenant text[], m_customer text[], m_expected bigint[], m_count integer[], m_closes boolean[],
    m_claim text[], m_release text[], m_key text[], m_fingerprint bytea[], m_status smallint[],
    m_subject text[], m_meta text[], m_is_repeat boolean[],
    e_member integer[], e_place integer[], e_id uuid[], e_type text[], e_schema smallint[], e_data text[]
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
BEGIN
    PERFORM pg_advisory_xact_lock(7305002);
    SELECT * INTO STRICT present FROM log.head;
    IF present.position + headroom > present.partitioned_to THEN
        PERFORM log.add_partition();
    END IF;
    present.recorded_at := greatest(present.recorded_at, date_trunc('milliseconds', clock_timestamp()));

    RETURN QUERY
    WITH asked AS (
        SELECT * FROM unnest(m_tenant, m_customer, m_expected, m_count, m_closes, m_claim, m_release,
                             m_key, m_fingerprint, m_status, m_subject, m_meta, m_is_repeat)
            WITH ORDINALITY AS m (tenant, customer_id, expected, events, closes, claim, release,
                                  key, fingerprint, status, subject, meta, is_repeat, member)
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
        INSERT INTO log.event (position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at)
        SELECT places.before[e.member] + e.place, e.id, m_tenant[e.member], m_customer[e.member],
               places.version[e.member] + e.place, e.type, e.schema_version, e.data::jsonb, m_meta[e.member]::jsonb, present.recorded_at
        FROM places, unnest(e_member, e_place, e_id, e_type, e_schema, e_data)
                     AS e (member, place, id, type, schema_version, data)
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

-- After a lost connection: what became of a batch. The lock waits for the lost transaction to end.
CREATE FUNCTION log.find_appended(customers text[], last_event_ids uuid[])
RETURNS TABLE (member integer, version bigint, "position" bigint, recorded_at timestamptz)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(7305002);
    RETURN QUERY
    SELECT asked.member::integer, event.version, event.position, event.recorded_at
    FROM unnest(customers, last_event_ids) WITH ORDINALITY AS asked (customer_id, id, member)
    JOIN log.event ON event.customer_id = asked.customer_id AND event.id = asked.id
    ORDER BY asked.member;
END $$;
