-- Whoever is parked and deleted is hidden at the version that is shown, which stays: two writers who read
-- that row before either of them had hidden the customer both took it off the counts.
DO $$
DECLARE
    held record;
BEGIN
    FOR held IN
        SELECT pg_get_functiondef(apply.oid) AS definition
        FROM pg_catalog.pg_proc AS apply
        JOIN pg_catalog.pg_namespace AS schema ON schema.oid = apply.pronamespace
        JOIN projection.version ON schema.nspname = 'customers_v' || version.version
        WHERE apply.proname = 'apply' AND version.projection = 'customers' AND version.state <> 'dropped'
    LOOP
        EXECUTE replace(held.definition, 'AND held.version = new.old;', 'AND held.version = new.old
      AND (new.version > new.old OR held.document IS NOT NULL);  -- nobody is hidden twice');
    END LOOP;
END $$;
