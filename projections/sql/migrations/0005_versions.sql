-- More than one version of a read model: one is read, another is built beside it or kept from before.

CREATE TABLE projection.version (
    projection text COLLATE "C" NOT NULL,  -- e.g. customers; its tables are in the schema customers_v1
    version    integer          NOT NULL,
    state      text COLLATE "C" NOT NULL,  -- building; active: the views stand on it; kept: they did before; dropped: its number is never used again
    CONSTRAINT version_pk PRIMARY KEY (projection, version),
    CONSTRAINT version_state CHECK (state IN ('building', 'active', 'kept', 'dropped'))
);
CREATE UNIQUE INDEX version_active ON projection.version (projection) WHERE state = 'active';
INSERT INTO projection.version (projection, version, state) VALUES ('customers', 1, 'active');

-- As take_over, of a version that is not read: else the feed of those who read it would be taken away.
CREATE FUNCTION projection.take_over_unread(
    fed text, fed_version integer, partitions integer[], current_epoch text, current_topic text
) RETURNS TABLE (partition integer, epoch text, "position" bigint, topic_offset bigint, event_time timestamptz)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7305003);  -- as take_over, and as whoever changes which version is read
    IF NOT EXISTS (SELECT FROM projection.version AS held WHERE held.projection = fed AND held.version = fed_version
                   AND held.state IN ('building', 'kept')) THEN
        RAISE EXCEPTION 'this version is read'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'version_unread';
    END IF;
    RETURN QUERY
    SELECT taken.partition, taken.epoch, taken.position, taken.topic_offset, taken.event_time
    FROM projection.take_over(fed, fed_version, partitions, current_epoch, current_topic) AS taken;
END $$;

-- A build that is under way, or the last one.
CREATE TABLE projection.rebuild (
    version    integer          NOT NULL,
    epoch      text             NOT NULL,  -- of the log it is made from
    target     bigint           NOT NULL,  -- where the log ended at first: what comes later is caught up with
    phase      text COLLATE "C" NOT NULL,  -- filling, then catching_up
    started_at timestamptz(3)   NOT NULL DEFAULT now(),
    CONSTRAINT rebuild_pk PRIMARY KEY (version),
    CONSTRAINT rebuild_phase CHECK (phase IN ('filling', 'catching_up'))
);

-- The customers after one id and up to another: filled in one transaction, which says so here.
CREATE TABLE projection.rebuild_range (
    version  integer          NOT NULL,
    number   integer          NOT NULL,
    after    text COLLATE "C" NOT NULL,
    until    text COLLATE "C" NOT NULL,
    is_done  boolean          NOT NULL DEFAULT false,
    events   bigint           NOT NULL DEFAULT 0,  -- of its customers, when it was planned
    CONSTRAINT rebuild_range_pk PRIMARY KEY (version, number)
);

-- Customers that the new version shows otherwise than the one that is read: their states are to be
-- written anew once the new one is read.
CREATE TABLE projection.rebuild_difference (
    version     integer          NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    CONSTRAINT rebuild_difference_pk PRIMARY KEY (version, customer_id)
);

CREATE VIEW read_model.rebuild_difference AS SELECT version, customer_id FROM projection.rebuild_difference;

-- The schemas of versions that are there and not read: a person must be forgotten in them, too.
CREATE VIEW read_model.unread_schema AS
    SELECT projection || '_v' || version AS name FROM projection.version WHERE state IN ('building', 'kept');
