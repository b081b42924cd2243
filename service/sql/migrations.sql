-- name: history_exists
SELECT to_regclass('public.schema_migration') IS NOT NULL;

-- name: create_history
-- Two first starts at once: IF NOT EXISTS can still collide, so the lock comes first. And it asks for
-- the right to make tables where there is nothing to make.
DO $$
BEGIN
    PERFORM pg_advisory_xact_lock(7305001);
    IF to_regclass('public.schema_migration') IS NULL THEN
        CREATE TABLE public.schema_migration (
            owner      text        NOT NULL,                -- the package that ships the file
            number     integer     NOT NULL,                -- the file's number
            name       text        NOT NULL,                -- the rest of its name
            digest     text        NOT NULL,                -- SHA-256 of its text when it ran
            applied_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT schema_migration_pk PRIMARY KEY (owner, number)
        );
    END IF;
END $$;

-- name: lock
SELECT pg_advisory_xact_lock(7305001);

-- name: history
SELECT owner, number, digest FROM public.schema_migration ORDER BY applied_at, owner, number;

-- name: record
INSERT INTO public.schema_migration (owner, number, name, digest) VALUES ($1, $2, $3, $4);
