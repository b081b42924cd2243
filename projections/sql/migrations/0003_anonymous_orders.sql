-- A deleted customer's orders stay, with amounts and dates, under an anonymous reference. And what
-- names a person leaves the read model's tables, indexes and statistics soon after a deletion.

-- Orders that arrive after the deletion find the reference here. Not in read_model: no reader needs it.
ALTER TABLE customers_v1.customer ADD COLUMN anonymous_reference text COLLATE "C";  -- NULL = not deleted

-- Whose the anonymous orders are, so that a tenant's totals can be worked out without any look at its
-- deleted customers. A column `tenant` in contribution would say the same in every order's row, and
-- would have to be filled for the orders that are there.
CREATE TABLE customers_v1.anonymous (
    reference  text COLLATE "C" NOT NULL,  -- stands in contribution.customer_id
    tenant     text COLLATE "C" NOT NULL,
    deleted_at timestamptz(3)   NOT NULL,
    CONSTRAINT anonymous_pk PRIMARY KEY (reference)
);
CREATE VIEW read_model.anonymous AS SELECT reference, tenant, deleted_at FROM customers_v1.anonymous;

-- After apply, in its transaction, so the customers' rows are there and locked: customers that were
-- deleted, sorted by id. The orders that are known move; those of the batch itself are written after it.
CREATE FUNCTION customers_v1.anonymize(customers text[], "references" text[], tenants text[], deleted timestamptz[])
RETURNS void LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    UPDATE customers_v1.customer AS held SET anonymous_reference = new.reference
    FROM unnest(customers, "references") AS new (id, reference) WHERE held.id = new.id;

    INSERT INTO customers_v1.anonymous (reference, tenant, deleted_at)
    SELECT new.reference, new.tenant, new.deleted_at
    FROM unnest("references", tenants, deleted) AS new (reference, tenant, deleted_at);

    UPDATE customers_v1.contribution AS held SET customer_id = new.reference
    FROM unnest(customers, "references") AS new (id, reference) WHERE held.customer_id = new.id;
END $$;

-- As before, with the reference.
DROP FUNCTION customers_v1.present(text[], text[], text[]);
CREATE FUNCTION customers_v1.present(customers text[], tenants text[], orders text[])
RETURNS TABLE (
    version bigint, is_parked boolean, document text, tenant_currency text, anonymous_reference text,
    order_version bigint, currency text, amount bigint, is_countable boolean, placed_at timestamptz
) LANGUAGE sql STABLE SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
    SELECT customer.version,
           CASE WHEN asked.tenant IS NULL THEN NULL
                WHEN customer.id IS NOT NULL THEN customer.is_stale
                ELSE EXISTS (SELECT FROM projection.parked WHERE parked.projection = 'customers'
                             AND parked.version = 1 AND parked.customer_id = asked.customer_id)
           END,
           customer.document, tenant.currency, customer.anonymous_reference,
           held.order_version, held.currency, held.amount, held.is_countable, held.placed_at
    FROM unnest(customers, tenants, orders) WITH ORDINALITY AS asked (customer_id, tenant, order_id, number)
    LEFT JOIN customers_v1.customer ON asked.tenant IS NOT NULL AND customer.id = asked.customer_id
    LEFT JOIN access.tenant ON tenant.name = asked.tenant
    LEFT JOIN customers_v1.contribution AS held
           ON held.customer_id = asked.customer_id AND held.order_id = asked.order_id
    ORDER BY asked.number
$$;

-- No statistics of columns that name a person: pg_statistic keeps their most common values and bounds,
-- and nothing takes a deleted person out of it before the next ANALYZE. Those gathered so far go with a
-- change of type, here to the same one: that rewrites neither table nor index, but no view may stand on it.
DROP VIEW read_model.customer, read_model.profile, read_model.search, read_model.search_sample;
ALTER TABLE customers_v1.customer
    ALTER COLUMN document TYPE text COLLATE "C", ALTER COLUMN item TYPE text COLLATE "C";
ALTER TABLE customers_v1.profile
    ALTER COLUMN email TYPE text COLLATE "C", ALTER COLUMN email_key TYPE text COLLATE "C",
    ALTER COLUMN first_key TYPE text COLLATE "C", ALTER COLUMN last_key TYPE text COLLATE "C";
ALTER TABLE customers_v1.search ALTER COLUMN words TYPE text COLLATE "C";
ALTER TABLE customers_v1.customer ALTER COLUMN document SET STATISTICS 0, ALTER COLUMN item SET STATISTICS 0;
ALTER TABLE customers_v1.profile
    ALTER COLUMN email SET STATISTICS 0, ALTER COLUMN email_key SET STATISTICS 0,
    ALTER COLUMN first_key SET STATISTICS 0, ALTER COLUMN last_key SET STATISTICS 0;
ALTER TABLE customers_v1.search ALTER COLUMN words SET STATISTICS 0;
CREATE VIEW read_model.customer AS
    SELECT id, tenant, version, position, document, item, is_stale FROM customers_v1.customer;
CREATE VIEW read_model.profile AS
    SELECT id, tenant, created_at, email, email_key, first_key, last_key, is_active, tags FROM customers_v1.profile;
CREATE VIEW read_model.search AS SELECT id, tenant, words, grams FROM customers_v1.search;
CREATE VIEW read_model.search_sample AS SELECT tenant, grams FROM customers_v1.search TABLESAMPLE SYSTEM (1);

-- A deleted row lies in its page until VACUUM comes. The default waits for a fifth of the table. From a
-- thousandth on it comes with the next look of autovacuum (a minute): a small shop's after each deletion.
-- Index entries hold names too, and VACUUM leaves them where few rows are dead, unless told not to.
ALTER TABLE customers_v1.profile
    SET (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0.001, vacuum_index_cleanup = on);
ALTER TABLE customers_v1.search
    SET (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0.001, vacuum_index_cleanup = on);
-- Every event leaves a dead row here, and its indexes hold nothing but ids. Its TOAST table does as it does.
ALTER TABLE customers_v1.customer SET (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0.01);
