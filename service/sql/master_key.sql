-- name: key_fingerprint
SELECT fingerprint FROM access.master_key;

-- name: key_is_needed
-- Whether anything exists that only the present master key can read or check.
SELECT EXISTS (SELECT FROM access.token) OR EXISTS (SELECT FROM log.event WHERE sealed IS NOT NULL);

-- name: remember_key
INSERT INTO access.master_key (fingerprint) VALUES ($1)
ON CONFLICT ON CONSTRAINT master_key_pk DO UPDATE SET fingerprint = excluded.fingerprint, created_at = now();
