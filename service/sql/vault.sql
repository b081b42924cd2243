-- name: is_wrapping
-- Whether the key that wraps now is one of these; no row before the first customer.
SELECT id = ANY($1::bytea[]) FROM vault.wrapping_key;

-- name: lock_append
-- The lock of log.append: no write is under way that was wrapped by what wrapped until now.
SELECT pg_advisory_xact_lock(7305002);

-- name: switch_wrapping_key
INSERT INTO vault.wrapping_key AS held (id) VALUES ($1)
ON CONFLICT ON CONSTRAINT wrapping_key_pk DO UPDATE SET id = excluded.id, switched_at = now()
WHERE held.id <> excluded.id;

-- name: count_keys
-- How many keys of customers another than $1 has wrapped, and how many there are. The first 8 bytes
-- name who has wrapped.
SELECT count(*) FILTER (WHERE substr(wrapped, 1, 8) <> $1), count(*)
FROM vault.customer_key WHERE wrapped IS NOT NULL;

-- name: wrapped_by_others
-- What another than $2 has wrapped, after customer $1.
SELECT customer_id, wrapped FROM vault.customer_key
WHERE customer_id > $1 AND wrapped IS NOT NULL AND substr(wrapped, 1, 8) <> $2
ORDER BY customer_id LIMIT $3;

-- name: replace_wrapped
-- Compare and set: who was deleted meanwhile stays forgotten. Nothing, where $1 no longer wraps; the
-- lock keeps it from being switched under this statement.
-- Invariant: keys are locked by customer_id, as the deletions of a batch lock theirs, so that neither
-- waits for the other with what that one waits for.
WITH present AS MATERIALIZED (
    SELECT id FROM vault.wrapping_key WHERE id = $1 FOR SHARE
), locked AS MATERIALIZED (
    SELECT held.customer_id, held.wrapped, given.renewed
    FROM present, unnest($2::text[], $3::bytea[], $4::bytea[]) AS given (customer_id, wrapped, renewed)
    JOIN vault.customer_key AS held ON held.customer_id = given.customer_id AND held.wrapped = given.wrapped
    ORDER BY held.customer_id FOR UPDATE OF held
)
UPDATE vault.customer_key AS held SET wrapped = locked.renewed
FROM locked WHERE held.customer_id = locked.customer_id AND held.wrapped = locked.wrapped
RETURNING held.customer_id;
