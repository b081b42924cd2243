-- The read model "customers", version 1: what list and get are served from. All of it can be dropped
-- and built again from the log. Tables are split by how often their columns change, so that an order
-- event touches two narrow rows and no index of names, tags or search.

CREATE SCHEMA projection;

-- How far each projection has read. Moved only in the transaction that applies the events, and only
-- from the position that its writer last saw, so a writer that was replaced cannot write.
CREATE TABLE projection.checkpoint (
    projection   text COLLATE "C" NOT NULL,  -- e.g. customers
    version      integer          NOT NULL,  -- of the projection; a rebuild makes the next
    partition    integer          NOT NULL,  -- of the events topic; -1 = the log itself, all partitions
    epoch        text             NOT NULL,  -- of the log that the position belongs to
    position     bigint           NOT NULL,  -- everything of this partition up to here is applied
    topic_id     text COLLATE "C" NOT NULL,  -- Kafka's id of the topic that topic_offset belongs to; empty for the log
    topic_offset bigint           NOT NULL,  -- the next record to read in that topic
    event_time   timestamptz(3)   NOT NULL,  -- recorded_at of the last event seen up to position
    CONSTRAINT checkpoint_pk PRIMARY KEY (projection, version, partition)
) WITH (fillfactor = 50);

-- The places of a projection that is fed by these partitions from now on; -1 = the log itself. Where
-- other rows are found, the feed has changed (log to topic, back, or a topic with fewer partitions):
-- then only what all of them had applied is certain. A partition that is new to a topic starts at 0,
-- since it may hold what was published before anybody noticed it. A topic that was made anew is read from
-- its beginning, however many records it has got by now.
CREATE FUNCTION projection.take_over(fed text, fed_version integer, partitions integer[], current_epoch text, current_topic text)
RETURNS TABLE (partition integer, epoch text, "position" bigint, topic_offset bigint, event_time timestamptz)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    lowest projection.checkpoint;
BEGIN
    PERFORM pg_advisory_xact_lock(7305003);
    IF EXISTS (SELECT FROM projection.checkpoint AS held WHERE held.projection = fed AND held.version = fed_version
               AND held.partition <> ALL (partitions)) THEN
        SELECT held.* INTO lowest FROM projection.checkpoint AS held
        WHERE held.projection = fed AND held.version = fed_version ORDER BY held.position, held.partition LIMIT 1;
        DELETE FROM projection.checkpoint AS held WHERE held.projection = fed AND held.version = fed_version;
    END IF;
    INSERT INTO projection.checkpoint (projection, version, partition, epoch, position, topic_id, topic_offset, event_time)
    SELECT fed, fed_version, new.partition, coalesce(lowest.epoch, current_epoch), coalesce(lowest.position, 0), current_topic, 0,
           coalesce(lowest.event_time, to_timestamp(0))
    FROM unnest(partitions) AS new (partition)
    ON CONFLICT ON CONSTRAINT checkpoint_pk DO NOTHING;
    UPDATE projection.checkpoint AS held SET topic_id = current_topic, topic_offset = 0
    WHERE held.projection = fed AND held.version = fed_version AND held.topic_id <> current_topic;
    RETURN QUERY
    SELECT held.partition, held.epoch, held.position, held.topic_offset, held.event_time
    FROM projection.checkpoint AS held WHERE held.projection = fed AND held.version = fed_version
    ORDER BY held.partition;
END $$;

-- Customers with an event that could not be applied. Their later events wait in the log, in order;
-- what is shown of them stays at stream_version - 1 until an operator lets them go on.
CREATE TABLE projection.parked (
    projection     text COLLATE "C" NOT NULL,
    version        integer          NOT NULL,
    customer_id    text COLLATE "C" NOT NULL,
    tenant         text COLLATE "C" NOT NULL,
    stream_version bigint           NOT NULL,  -- of the first event that is not shown
    position       bigint           NOT NULL,  -- where in the log it stopped; no payload is copied
    reason         text COLLATE "C" NOT NULL,  -- a code: unknown_type, undecodable, impossible, refused
    parked_at      timestamptz(3)   NOT NULL DEFAULT now(),
    CONSTRAINT parked_pk PRIMARY KEY (projection, version, customer_id)
);

CREATE SCHEMA customers_v1;

-- One row per customer ever seen. After a deletion the row stays without any data: its version still
-- tells repeated events apart from new ones.
CREATE TABLE customers_v1.customer (
    id       text COLLATE "C" NOT NULL,
    tenant   text COLLATE "C" NOT NULL,
    version  bigint           NOT NULL,  -- of the last event applied
    position bigint           NOT NULL,  -- of the last event applied
    document text COLLATE "C",           -- finished JSON of the whole customer; NULL = deleted
    item     text COLLATE "C",           -- finished JSON of its line in a list; NULL = deleted
    is_stale boolean          NOT NULL DEFAULT false,  -- parked: the log says more than is shown here
    CONSTRAINT customer_pk PRIMARY KEY (id)
) WITH (fillfactor = 80);

-- Finds the items of a page faster than the primary key does: a page of 50 takes a tenth less.
CREATE INDEX customer_by_id ON customers_v1.customer USING hash (id);

-- What rarely changes and is sorted or filtered by. Living customers only.
CREATE TABLE customers_v1.profile (
    id         text COLLATE "C" NOT NULL,
    tenant     text COLLATE "C" NOT NULL,
    created_at timestamptz(3)   NOT NULL,
    email      text COLLATE "C" NOT NULL,  -- as stored: for the exact filter
    email_key  text COLLATE "C" NOT NULL,  -- sort key: folded, then code point
    first_key  text COLLATE "C",           -- the same of the first name; NULL = none
    last_key   text COLLATE "C",           -- the same of the last name; NULL = none
    is_active  boolean          NOT NULL,
    tags       integer[]        NOT NULL,  -- ids in customers_v1.tag
    CONSTRAINT profile_pk PRIMARY KEY (id)
) WITH (fillfactor = 90);
CREATE INDEX profile_by_created ON customers_v1.profile (tenant, created_at, id) INCLUDE (tags, is_active);
CREATE INDEX profile_by_email ON customers_v1.profile (tenant, email_key, id) INCLUDE (tags, is_active);
CREATE INDEX profile_by_first ON customers_v1.profile (tenant, first_key, id) INCLUDE (tags, is_active);
CREATE INDEX profile_by_last ON customers_v1.profile (tenant, last_key, id) INCLUDE (tags, is_active);
CREATE INDEX profile_inactive ON customers_v1.profile (tenant, created_at, id) INCLUDE (tags) WHERE NOT is_active;
CREATE INDEX profile_by_tag ON customers_v1.profile USING gin (tags);

-- What orders and every write change. Living customers only.
CREATE TABLE customers_v1.activity (
    id            text COLLATE "C" NOT NULL,
    tenant        text COLLATE "C" NOT NULL,
    total_spent   bigint           NOT NULL,  -- minor units of the tenant's currency
    order_count   integer          NOT NULL,
    updated_at    timestamptz(3)   NOT NULL,
    last_order_at timestamptz(3),             -- NULL = no countable order
    is_active     boolean          NOT NULL,
    tags          integer[]        NOT NULL,
    CONSTRAINT activity_pk PRIMARY KEY (id)
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX activity_by_spent ON customers_v1.activity (tenant, total_spent, id) INCLUDE (tags, is_active);
CREATE INDEX activity_by_orders ON customers_v1.activity (tenant, order_count, id) INCLUDE (tags, is_active);
CREATE INDEX activity_by_updated ON customers_v1.activity (tenant, updated_at, id) INCLUDE (tags, is_active);

-- Tags by number: each tenant's spelling-insensitive names.
CREATE TABLE customers_v1.tag (
    id     integer GENERATED ALWAYS AS IDENTITY,
    tenant text COLLATE "C" NOT NULL,
    name   text COLLATE "C" NOT NULL,  -- case-folded
    CONSTRAINT tag_pk PRIMARY KEY (id),
    CONSTRAINT tag_name UNIQUE (tenant, name)
);

-- Who carries a tag, in the default order. Rows are inserted and deleted, never updated.
CREATE TABLE customers_v1.tagged (
    tag        integer          NOT NULL,
    created_at timestamptz(3)   NOT NULL,
    id         text COLLATE "C" NOT NULL,
    CONSTRAINT tagged_pk PRIMARY KEY (tag, created_at, id)
);

-- Substring search on names and e-mail: folded text and its 2- and 3-grams, each with its tenant mixed in.
CREATE TABLE customers_v1.search (
    id     text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    words  text COLLATE "C" NOT NULL,  -- folded first name, last name, e-mail, one per line
    grams  integer[]        NOT NULL,
    CONSTRAINT search_pk PRIMARY KEY (id)
);
CREATE INDEX search_by_grams ON customers_v1.search USING gin (grams) WITH (gin_pending_list_limit = 256);

-- Exact counts of living customers: tag 0 = all of the tenant's.
CREATE TABLE customers_v1.counter (
    tenant    text COLLATE "C" NOT NULL,
    tag       integer          NOT NULL,
    is_active boolean          NOT NULL,
    count     bigint           NOT NULL,
    CONSTRAINT counter_pk PRIMARY KEY (tenant, tag, is_active),
    CONSTRAINT counter_not_negative CHECK (count >= 0)
) WITH (fillfactor = 50);

-- Living customers by the UTC day of their creation: lets a deep page jump.
CREATE TABLE customers_v1.day (
    tenant text COLLATE "C" NOT NULL,
    day    date             NOT NULL,
    count  bigint           NOT NULL,
    CONSTRAINT day_pk PRIMARY KEY (tenant, day),
    CONSTRAINT day_not_negative CHECK (count >= 0)
) WITH (fillfactor = 50);

-- One row per order: what it contributes. Roll-ups are sums over these, never increments.
CREATE TABLE customers_v1.contribution (
    customer_id   text COLLATE "C" NOT NULL,
    order_id      text COLLATE "C" NOT NULL,
    order_version bigint           NOT NULL,
    currency      text COLLATE "C" NOT NULL,
    amount        bigint           NOT NULL,  -- minor units of currency; 0 unless countable
    is_countable  boolean          NOT NULL,
    placed_at     timestamptz      NOT NULL,
    order_state   text COLLATE "C" NOT NULL,  -- the order as last recorded, JSON
    CONSTRAINT contribution_pk PRIMARY KEY (customer_id, order_id)
) WITH (fillfactor = 90);

-- Where the reading side looks. A rebuild builds customers_v2 and points these views at it.
CREATE SCHEMA read_model;
CREATE VIEW read_model.customer AS
    SELECT id, tenant, version, position, document, item, is_stale FROM customers_v1.customer;
CREATE VIEW read_model.profile AS
    SELECT id, tenant, created_at, email, email_key, first_key, last_key, is_active, tags FROM customers_v1.profile;
CREATE VIEW read_model.activity AS
    SELECT id, tenant, total_spent, order_count, updated_at, last_order_at, is_active, tags FROM customers_v1.activity;
CREATE VIEW read_model.tag AS SELECT id, tenant, name FROM customers_v1.tag;
CREATE VIEW read_model.tagged AS SELECT tag, created_at, id FROM customers_v1.tagged;
CREATE VIEW read_model.search AS SELECT id, tenant, words, grams FROM customers_v1.search;
-- For the frequencies of grams: one in a hundred blocks.
CREATE VIEW read_model.search_sample AS SELECT tenant, grams FROM customers_v1.search TABLESAMPLE SYSTEM (1);
CREATE VIEW read_model.counter AS SELECT tenant, tag, is_active, count FROM customers_v1.counter;
CREATE VIEW read_model.day AS SELECT tenant, day, count FROM customers_v1.day;
CREATE VIEW read_model.contribution AS
    SELECT customer_id, order_id, order_version, currency, amount, is_countable, placed_at, order_state FROM customers_v1.contribution;
CREATE VIEW read_model.checkpoint AS
    SELECT version, partition, epoch, position, event_time FROM projection.checkpoint WHERE projection = 'customers' AND version = 1;
CREATE VIEW read_model.parked AS
    SELECT customer_id, tenant, stream_version, position, reason, parked_at
    FROM projection.parked WHERE projection = 'customers' AND version = 1;
