-- What each role may do with the read models; service/sql/rights.sql has the rest. Run whole, in one
-- transaction, by every `customers migrate`, and by whoever makes another version of a read model.
--
-- Invariant: readers see views, and only `projections` reads and writes what is behind them.

REVOKE ALL ON ALL TABLES IN SCHEMA projection, read_model, derived
    FROM PUBLIC, customers_api, customers_relay, customers_projections, customers_intake;
REVOKE ALL ON ALL ROUTINES IN SCHEMA projection, read_model, derived
    FROM PUBLIC, customers_api, customers_relay, customers_projections, customers_intake;

GRANT USAGE ON SCHEMA read_model TO customers_api, customers_projections;
GRANT SELECT ON ALL TABLES IN SCHEMA read_model TO customers_api, customers_projections;

GRANT USAGE ON SCHEMA projection TO customers_projections;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA projection TO customers_projections;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA projection TO customers_projections;

-- Projections that were added. What makes and drops their tables is the owner's business.
GRANT USAGE ON SCHEMA derived TO customers_projections;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA derived TO customers_projections;
REVOKE INSERT, DELETE ON derived.projection FROM customers_projections;
GRANT EXECUTE ON FUNCTION derived.table_of, derived.read, derived.apply TO customers_projections;

-- Each version of a read model has a schema of its own.
DO $$
DECLARE
    version text;
BEGIN
    FOR version IN SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname ~ '^customers_v[0-9]+$' ORDER BY nspname LOOP
        EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA %I FROM PUBLIC', version);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO customers_projections', version);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO customers_projections', version);
        EXECUTE format('GRANT EXECUTE ON ALL ROUTINES IN SCHEMA %I TO customers_projections', version);
    END LOOP;
END $$;
