-- The read model "customers", as any version of it is made: {schema} stands for the version's schema,
-- {version} for its number. The migrations make version 1 of the same shape; a test compares the two.
-- A migration that changes the shape changes all versions that there are, and this file.

-- name: tables
CREATE SCHEMA {schema};

-- One row per customer ever seen. After a deletion the row stays without any data: its version still
-- tells repeated events apart from new ones.
CREATE TABLE {schema}.customer (
    id       text COLLATE "C" NOT NULL,
    tenant   text COLLATE "C" NOT NULL,
    version  bigint           NOT NULL,  -- of the last event applied
    position bigint           NOT NULL,  -- of the last event applied
    document text COLLATE "C",           -- finished JSON of the whole customer; NULL = deleted
    item     text COLLATE "C",           -- finished JSON of its line in a list; NULL = deleted
    is_stale boolean          NOT NULL DEFAULT false,  -- parked: the log says more than is shown here
    anonymous_reference text COLLATE "C"  -- orders that arrive after the deletion find it here; NULL = not deleted
) WITH (fillfactor = 80, autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0.01);

-- What rarely changes and is sorted or filtered by. Living customers only.
CREATE TABLE {schema}.profile (
    id         text COLLATE "C" NOT NULL,
    tenant     text COLLATE "C" NOT NULL,
    created_at timestamptz(3)   NOT NULL,
    email      text COLLATE "C" NOT NULL,  -- as stored: for the exact filter
    email_key  text COLLATE "C" NOT NULL,  -- sort key: folded, then code point
    first_key  text COLLATE "C",           -- the same of the first name; NULL = none
    last_key   text COLLATE "C",           -- the same of the last name; NULL = none
    is_active  boolean          NOT NULL,
    tags       integer[]        NOT NULL   -- ids in {schema}.tag
) WITH (fillfactor = 90, autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0.001, vacuum_index_cleanup = on);

-- What orders and every write change. Living customers only.
CREATE TABLE {schema}.activity (
    id            text COLLATE "C" NOT NULL,
    tenant        text COLLATE "C" NOT NULL,
    total_spent   bigint           NOT NULL,  -- minor units of the tenant's currency
    order_count   integer          NOT NULL,
    updated_at    timestamptz(3)   NOT NULL,
    last_order_at timestamptz(3),             -- NULL = no countable order
    is_active     boolean          NOT NULL,
    tags          integer[]        NOT NULL
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);

-- Tags by number: each tenant's spelling-insensitive names.
CREATE TABLE {schema}.tag (
    id     integer GENERATED ALWAYS AS IDENTITY,
    tenant text COLLATE "C" NOT NULL,
    name   text COLLATE "C" NOT NULL,  -- case-folded
    CONSTRAINT tag_pk PRIMARY KEY (id),
    CONSTRAINT tag_name UNIQUE (tenant, name)
);

-- Who carries a tag, in the default order. Rows are inserted and deleted, never updated.
CREATE TABLE {schema}.tagged (
    tag        integer          NOT NULL,
    created_at timestamptz(3)   NOT NULL,
    id         text COLLATE "C" NOT NULL
);

-- Substring search on names and e-mail: folded text and its 2- and 3-grams, each with its tenant mixed in.
CREATE TABLE {schema}.search (
    id     text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    words  text COLLATE "C" NOT NULL,  -- folded first name, last name, e-mail, one per line
    grams  integer[]        NOT NULL
) WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0.001, vacuum_index_cleanup = on);

-- Exact counts of living customers: tag 0 = all of the tenant's.
CREATE TABLE {schema}.counter (
    tenant    text COLLATE "C" NOT NULL,
    tag       integer          NOT NULL,
    is_active boolean          NOT NULL,
    count     bigint           NOT NULL
) WITH (fillfactor = 50);

-- Living customers by the UTC day of their creation: lets a deep page jump.
CREATE TABLE {schema}.day (
    tenant text COLLATE "C" NOT NULL,
    day    date             NOT NULL,
    count  bigint           NOT NULL
) WITH (fillfactor = 50);

-- One row per order: what it contributes. Roll-ups are sums over these, never increments.
CREATE TABLE {schema}.contribution (
    customer_id   text COLLATE "C" NOT NULL,
    order_id      text COLLATE "C" NOT NULL,
    order_version bigint           NOT NULL,
    currency      text COLLATE "C" NOT NULL,
    amount        bigint           NOT NULL,  -- minor units of currency; 0 unless countable
    is_countable  boolean          NOT NULL,
    placed_at     timestamptz      NOT NULL,
    order_state   text COLLATE "C" NOT NULL  -- the order as last recorded, JSON
) WITH (fillfactor = 90);

-- Whose the orders of the deleted are: they stand in contribution.customer_id under the reference.
CREATE TABLE {schema}.anonymous (
    reference  text COLLATE "C" NOT NULL,
    tenant     text COLLATE "C" NOT NULL,
    deleted_at timestamptz(3)   NOT NULL
);

-- No statistics of columns that name a person: nothing takes a deleted one out of them in time.
ALTER TABLE {schema}.customer ALTER COLUMN document SET STATISTICS 0, ALTER COLUMN item SET STATISTICS 0;
ALTER TABLE {schema}.profile
    ALTER COLUMN email SET STATISTICS 0, ALTER COLUMN email_key SET STATISTICS 0,
    ALTER COLUMN first_key SET STATISTICS 0, ALTER COLUMN last_key SET STATISTICS 0;
ALTER TABLE {schema}.search ALTER COLUMN words SET STATISTICS 0;

-- How often rows changed without a step in the log.
INSERT INTO projection.amendment (projection, version, number) VALUES ('customers', {version}, 0)
ON CONFLICT ON CONSTRAINT amendment_pk DO NOTHING;

-- name: indexes
-- After the rows: so each is built at once.
ALTER TABLE {schema}.customer ADD CONSTRAINT customer_pk PRIMARY KEY (id);
ALTER TABLE {schema}.profile ADD CONSTRAINT profile_pk PRIMARY KEY (id);
ALTER TABLE {schema}.activity ADD CONSTRAINT activity_pk PRIMARY KEY (id);
ALTER TABLE {schema}.tagged ADD CONSTRAINT tagged_pk PRIMARY KEY (tag, created_at, id);
ALTER TABLE {schema}.search ADD CONSTRAINT search_pk PRIMARY KEY (id);
ALTER TABLE {schema}.counter ADD CONSTRAINT counter_pk PRIMARY KEY (tenant, tag, is_active);
ALTER TABLE {schema}.counter ADD CONSTRAINT counter_not_negative CHECK (count >= 0);
ALTER TABLE {schema}.day ADD CONSTRAINT day_pk PRIMARY KEY (tenant, day);
ALTER TABLE {schema}.day ADD CONSTRAINT day_not_negative CHECK (count >= 0);
ALTER TABLE {schema}.anonymous ADD CONSTRAINT anonymous_pk PRIMARY KEY (reference);
ALTER TABLE {schema}.contribution ADD CONSTRAINT contribution_pk PRIMARY KEY (customer_id, order_id);
-- Finds the items of a page faster than the primary key does: a page of 50 takes a tenth less.
CREATE INDEX customer_by_id ON {schema}.customer USING hash (id);
CREATE INDEX profile_by_created ON {schema}.profile (tenant, created_at, id) INCLUDE (tags, is_active);
CREATE INDEX profile_by_email ON {schema}.profile (tenant, email_key, id) INCLUDE (tags, is_active);
CREATE INDEX profile_by_first ON {schema}.profile (tenant, first_key, id) INCLUDE (tags, is_active);
CREATE INDEX profile_by_last ON {schema}.profile (tenant, last_key, id) INCLUDE (tags, is_active);
CREATE INDEX profile_inactive ON {schema}.profile (tenant, created_at, id) INCLUDE (tags) WHERE NOT is_active;
CREATE INDEX profile_by_tag ON {schema}.profile USING gin (tags);
CREATE INDEX activity_by_spent ON {schema}.activity (tenant, total_spent, id) INCLUDE (tags, is_active);
CREATE INDEX activity_by_orders ON {schema}.activity (tenant, order_count, id) INCLUDE (tags, is_active);
CREATE INDEX activity_by_updated ON {schema}.activity (tenant, updated_at, id) INCLUDE (tags, is_active);
CREATE INDEX search_by_grams ON {schema}.search USING gin (grams) WITH (gin_pending_list_limit = 256);

-- name: views
-- Where readers look: at this version.
CREATE OR REPLACE VIEW read_model.customer AS
    SELECT id, tenant, version, position, document, item, is_stale FROM {schema}.customer;
CREATE OR REPLACE VIEW read_model.profile AS
    SELECT id, tenant, created_at, email, email_key, first_key, last_key, is_active, tags FROM {schema}.profile;
CREATE OR REPLACE VIEW read_model.activity AS
    SELECT id, tenant, total_spent, order_count, updated_at, last_order_at, is_active, tags FROM {schema}.activity;
CREATE OR REPLACE VIEW read_model.tag AS SELECT id, tenant, name FROM {schema}.tag;
CREATE OR REPLACE VIEW read_model.tagged AS SELECT tag, created_at, id FROM {schema}.tagged;
CREATE OR REPLACE VIEW read_model.search AS SELECT id, tenant, words, grams FROM {schema}.search;
-- For the frequencies of grams: one in a hundred blocks.
CREATE OR REPLACE VIEW read_model.search_sample AS SELECT tenant, grams FROM {schema}.search TABLESAMPLE SYSTEM (1);
CREATE OR REPLACE VIEW read_model.counter AS SELECT tenant, tag, is_active, count FROM {schema}.counter;
CREATE OR REPLACE VIEW read_model.day AS SELECT tenant, day, count FROM {schema}.day;
CREATE OR REPLACE VIEW read_model.contribution AS
    SELECT customer_id, order_id, order_version, currency, amount, is_countable, placed_at, order_state FROM {schema}.contribution;
CREATE OR REPLACE VIEW read_model.checkpoint AS
    SELECT version, partition, epoch, position, event_time FROM projection.checkpoint WHERE projection = 'customers' AND version = {version};
CREATE OR REPLACE VIEW read_model.parked AS
    SELECT customer_id, tenant, stream_version, position, reason, parked_at
    FROM projection.parked WHERE projection = 'customers' AND version = {version};
CREATE OR REPLACE VIEW read_model.anonymous AS SELECT reference, tenant, deleted_at FROM {schema}.anonymous;
CREATE OR REPLACE VIEW read_model.amendment AS
    SELECT number FROM projection.amendment WHERE projection = 'customers' AND version = {version};

-- name: vacuum
-- Plans need statistics, and index-only scans a map of what all may see. {table} is one of the tables.
VACUUM (ANALYZE) {schema}.{table};

-- name: drop
DROP SCHEMA {schema} CASCADE;
