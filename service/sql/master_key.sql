-- name: key_fingerprint
SELECT fingerprint FROM access.master_key;

-- name: key_is_needed
-- Whether anything exists that only the present master key can read or check.
SELECT EXISTS (SELECT FROM access.token) OR EXISTS (SELECT FROM log.event WHERE sealed IS NOT NULL)
       OR EXISTS (SELECT FROM log.archived);

-- name: lock_key
-- Until the end of the transaction nobody else provides a key.
SELECT pg_advisory_xact_lock(7305004);

-- name: remember_key
-- Only where none is known: a known fingerprint is never replaced.
INSERT INTO access.master_key (fingerprint) VALUES ($1)
ON CONFLICT ON CONSTRAINT master_key_pk DO NOTHING;
