-- name: missing_roles
-- Which of these roles the cluster lacks.
SELECT wanted FROM unnest($1::text[]) AS wanted
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) ORDER BY wanted;

-- name: everybody_may_create
-- Whether users without any right of their own may make tables here, other than temporary ones.
SELECT has_schema_privilege('public', 'public', 'CREATE');
