-- The roles that stand for the four kinds of process. Nobody logs in as one of them: an operator makes
-- a user for each process and grants it the role. They belong to the whole cluster, and the databases
-- in it share them, so they are made where they are missing and never dropped.
--
-- `customers migrate` runs this where its user may make roles. Where it may not, let a superuser run
-- it once in any database of the cluster, and run `migrate` again:
--     psql -d postgres -f roles.sql
DO $$
DECLARE
    wanted text;
BEGIN
    IF NOT (SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;
    FOREACH wanted IN ARRAY ARRAY['customers_api', 'customers_relay', 'customers_projections', 'customers_intake'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- a migration of another database of the cluster was first
            END;
        END IF;
    END LOOP;
END $$;
