-- Old partitions of the log leave the database for files, and come back: what is archived, and from
-- which states the streams go on whose beginnings are.

-- How many positions the partitions have that are made from now on. Nobody but tests has a reason to
-- change it.
ALTER TABLE log.head ADD COLUMN partition_positions bigint NOT NULL DEFAULT 10000000;
ALTER TABLE log.head ADD CONSTRAINT head_partition_positions_from_one CHECK (partition_positions >= 1);

-- One row per partition that is archived. Invariant: together they are positions 1 to some last one,
-- for the oldest goes first and the newest of them comes back first.
CREATE TABLE log.archived (
    first_position    bigint           NOT NULL,
    last_position     bigint           NOT NULL,
    events            bigint           NOT NULL,  -- one for each position
    partition         text COLLATE "C" NOT NULL,  -- what the table was called, and will be again
    epoch             text             NOT NULL,  -- of the log when it was archived; the file says it, too
    file_name         text             NOT NULL,  -- without its folder, which may change
    file_bytes        bigint           NOT NULL,
    sha256            text             NOT NULL,  -- of the file: no other is taken back
    first_recorded_at timestamptz(3)   NOT NULL,  -- of its first event
    last_recorded_at  timestamptz(3)   NOT NULL,  -- of its last event
    archived_at       timestamptz(3)   NOT NULL DEFAULT now(),
    CONSTRAINT archived_pk PRIMARY KEY (first_position),
    CONSTRAINT archived_last_unique UNIQUE (last_position),
    CONSTRAINT archived_partition_unique UNIQUE (partition),
    CONSTRAINT archived_every_position CHECK (first_position >= 1 AND events = last_position - first_position + 1)
);

-- The state of a customer at the end of a partition that is or was to be archived: what its stream
-- goes on from. All of it is sealed under the customer's own key, as the events are.
CREATE TABLE log.snapshot (
    customer_id    text COLLATE "C" NOT NULL,
    tenant         text COLLATE "C" NOT NULL,
    version        bigint           NOT NULL,  -- of the last event that is in the state
    position       bigint           NOT NULL,  -- of that event
    recorded_at    timestamptz(3)   NOT NULL,  -- of that event
    schema_version smallint         NOT NULL,  -- of the model that wrote the state
    sealed         bytea            NOT NULL,
    CONSTRAINT snapshot_pk PRIMARY KEY (customer_id, version)
);
CREATE INDEX snapshot_by_position ON log.snapshot (position);
ALTER TABLE log.snapshot ALTER COLUMN sealed SET STATISTICS 0;

-- Whoever destroys a customer's key takes the states away in the same commit.
CREATE FUNCTION log.forget_snapshots() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    DELETE FROM log.snapshot WHERE customer_id = NEW.customer_id;
    RETURN NULL;
END $$;
CREATE TRIGGER customer_key_destroyed AFTER INSERT OR UPDATE ON vault.customer_key
    FOR EACH ROW WHEN (NEW.wrapped IS NULL) EXECUTE FUNCTION log.forget_snapshots();

-- Makes the next partition. Called with the append lock held, well before it is needed.
CREATE OR REPLACE FUNCTION log.add_partition() RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    present log.head;
    starts  bigint;
    size    bigint;
    name    text;
BEGIN
    SELECT * INTO STRICT present FROM log.head;
    starts := present.partitioned_to;
    size := present.partition_positions;
    IF starts - present.position > 3 * size THEN
        RETURN;  -- whoever appends asks for room by the million; of small ones three are enough
    END IF;
    name := 'event_' || to_char(starts / size, 'FM000000');
    -- Made apart and then attached: that lock does not wait for, or stop, readers and writers.
    EXECUTE format('CREATE TABLE log.%I (LIKE log.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('ALTER TABLE log.%I ALTER COLUMN sealed SET STATISTICS 0', name);
    EXECUTE format('ALTER TABLE log.event ATTACH PARTITION log.%I FOR VALUES FROM (%s) TO (%s)', name, starts, starts + size);
    EXECUTE format('CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON log.%I FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change()', name);
    UPDATE log.head SET partitioned_to = starts + size WHERE is_only;
END $$;

-- For a transaction that takes a partition away. Invariant: the append lock comes first, as in an
-- append, so nobody waits for us with what we wait for. Readers and writers are locked out from here on.
CREATE FUNCTION log.lock_to_archive(partition text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7305002);
    LOCK TABLE ONLY log.event IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('LOCK TABLE log.%I IN ACCESS EXCLUSIVE MODE', partition);
END $$;

-- Takes a partition away for good.
CREATE FUNCTION log.drop_partition(partition text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE log.event DETACH PARTITION log.%I', partition);
    EXECUTE format('DROP TABLE log.%I', partition);
END $$;

-- An empty table for a partition that comes back; what an earlier attempt left is dropped. It stands
-- apart from the log, so that filling it holds up nobody.
CREATE FUNCTION log.make_detached(partition text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(format('log.%I', partition))) THEN
        RAISE EXCEPTION 'partition % is part of the log', partition
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'partition_detached';
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS log.%I', partition);
    EXECUTE format('CREATE TABLE log.%I (LIKE log.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
    EXECUTE format('ALTER TABLE log.%I ALTER COLUMN sealed SET STATISTICS 0', partition);
END $$;

-- Indexes as the log has them, and a constraint that proves the bounds: so attaching need not look.
CREATE FUNCTION log.finish_detached(partition text, first_position bigint, last_position bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE log.%I ADD PRIMARY KEY (position)', partition);
    EXECUTE format('CREATE INDEX ON log.%I (customer_id, version)', partition);
    EXECUTE format('ALTER TABLE log.%I ADD CONSTRAINT archived_bounds CHECK (position >= %s AND position < %s)',
                   partition, first_position, last_position + 1);
    EXECUTE format('ANALYZE log.%I', partition);
END $$;

-- Makes it a part of the log again; what guards the log guards it, too. Invariant: no statement is under
-- way meanwhile, or one that was planned without the partition could find that nothing is archived.
CREATE FUNCTION log.attach_partition(partition text, first_position bigint, last_position bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7305002);
    LOCK TABLE ONLY log.event IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('ALTER TABLE log.event ATTACH PARTITION log.%I FOR VALUES FROM (%s) TO (%s)',
                   partition, first_position, last_position + 1);
    EXECUTE format('CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON log.%I FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change()', partition);
    EXECUTE format('ALTER TABLE log.%I DROP CONSTRAINT archived_bounds', partition);
END $$;

-- Whoever may look into the schema must not thereby have its owner's rights.
REVOKE ALL ON ALL ROUTINES IN SCHEMA log FROM PUBLIC;
