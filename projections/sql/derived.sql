-- What is said to the database about projections that were added: docs/projections.md.

-- name: read
SELECT customer_id, stream_version, heard_version, is_gone, held_row FROM derived.read($1, $2, $3, $4);

-- name: apply
SELECT derived.apply($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24);

-- name: shape
-- With which the table was made. No row: it is not made.
SELECT shape FROM derived.projection WHERE name = $1 AND version = $2;

-- name: lock
-- As whoever migrates does.
SELECT pg_advisory_xact_lock(7305001);

-- name: record
INSERT INTO derived.projection (name, version, shape) VALUES ($1, $2, $3);

-- name: made
SELECT name, version, moved_at FROM derived.projection ORDER BY name, version;

-- name: drop_version
SELECT derived.drop_version($1, $2);
