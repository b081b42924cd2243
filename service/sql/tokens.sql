-- name: create_token
INSERT INTO access.token (id, tenant, name, scopes, hash, expires_at)
VALUES ($1, $2, $3, $4, $5, now() + $6::interval);

-- name: tokens
-- $1: only this tenant's; NULL: all.
SELECT id, tenant, name, scopes, created_at, expires_at, revoked_at
FROM access.token WHERE $1::text IS NULL OR tenant = $1 ORDER BY created_at, id;

-- name: revoke_token
-- By id or by hash. A repeat keeps the first time; no row: no such token.
UPDATE access.token SET revoked_at = coalesce(revoked_at, now())
WHERE id = $1 OR hash = $2 RETURNING id;

-- name: drop_token
DELETE FROM access.token WHERE id = $1;

-- name: find_token
-- What a valid token stands for, and for how many seconds from now.
SELECT token.id, token.name, token.tenant, tenant.currency, token.scopes,
       extract(epoch FROM token.expires_at - now())::float8
FROM access.token JOIN access.tenant ON tenant.name = token.tenant
WHERE token.hash = $1 AND token.revoked_at IS NULL AND (token.expires_at IS NULL OR token.expires_at > now());

-- name: find_tenant
SELECT currency FROM access.tenant WHERE name = $1;
