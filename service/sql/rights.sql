-- What each role may do with the log and what belongs to it; projections/sql/rights.sql has the rest.
-- Run whole, in one transaction, by every `customers migrate`.
--
-- Invariants: what is not granted here is not granted. Nobody but the owner has a right to write
-- log.event, or to make, change or drop anything; appending is a function's business.

REVOKE ALL ON ALL TABLES IN SCHEMA log, access, vault, relay
    FROM PUBLIC, customers_api, customers_relay, customers_projections, customers_intake;
REVOKE ALL ON ALL ROUTINES IN SCHEMA log, access, vault, relay
    FROM PUBLIC, customers_api, customers_relay, customers_projections, customers_intake;
REVOKE ALL ON SCHEMA log, access, vault, relay
    FROM PUBLIC, customers_api, customers_relay, customers_projections, customers_intake;

-- Everybody may make tables in `public` up to PostgreSQL 14, and temporary ones in any release.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
DO $$ BEGIN
    EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END $$;

-- Every process: is this database of the right shape, of our master key, and which log is it?
GRANT USAGE ON SCHEMA public, log, access TO customers_api, customers_relay, customers_projections, customers_intake;
GRANT SELECT ON public.schema_migration, access.master_key, log.head
    TO customers_api, customers_relay, customers_projections, customers_intake;

-- api: appends, reads customers with their keys, checks tokens.
GRANT USAGE ON SCHEMA vault TO customers_api;
GRANT SELECT ON log.event, log.archived, log.snapshot, log.stream, log.idempotency, vault.customer_key, vault.wrapping_key,
    access.tenant, access.token TO customers_api;
GRANT EXECUTE ON FUNCTION log.append, log.find_appended, log.forget_old_keys TO customers_api;
-- Its console shows how far publishing is.
GRANT USAGE ON SCHEMA relay TO customers_api;
GRANT SELECT ON relay.lease, relay.progress TO customers_api;

-- relay: reads and opens the whole log, and keeps its place.
GRANT USAGE ON SCHEMA vault, relay TO customers_relay;
GRANT SELECT ON log.event, log.archived, vault.customer_key TO customers_relay;
GRANT EXECUTE ON FUNCTION log.page TO customers_relay;
GRANT SELECT, INSERT, UPDATE ON relay.lease, relay.progress TO customers_relay;

-- projections: reads and opens the whole log. Its own tables are granted beside their migrations.
GRANT USAGE ON SCHEMA vault TO customers_projections;
GRANT SELECT ON log.event, log.archived, log.stream, vault.customer_key, access.tenant TO customers_projections;
GRANT EXECUTE ON FUNCTION log.page TO customers_projections;

-- intake: records orders, and sees no customer and no key.
GRANT EXECUTE ON FUNCTION log.record_orders TO customers_intake;
