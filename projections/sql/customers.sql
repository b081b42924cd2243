-- As read_model.sql: {schema} and {version} stand for one version of the read model.
-- Columns of ids and of JSON come as text, one value per line, none of which has a line break inside:
-- to the driver they cost a tenth of an array.

-- name: present
SELECT version, is_parked, document, tenant_currency, anonymous_reference, order_version, currency, amount, is_countable, placed_at
FROM {schema}.present(string_to_array($1, E'\n'), string_to_array($2, E'\n', ''), $3);

-- name: all_orders
-- For customers whose roll-ups follow only from all of their orders.
SELECT customer_id, order_id, order_version, currency, amount, is_countable, placed_at
FROM {schema}.contribution WHERE customer_id = ANY ($1) ORDER BY customer_id, order_id;

-- name: tag_ids
SELECT tenant, name, id FROM {schema}.tag_ids($1, $2);

-- name: apply
SELECT {schema}.apply(
    $1, $2, $3, $4, $5, $6, $7,
    string_to_array($8, E'\n'), string_to_array($9, E'\n'), $10, $11, $12,
    string_to_array($13, E'\n', 'null'), string_to_array($14, E'\n', 'null'),
    string_to_array($15, E'\n'), $16, $17, $18, $19,
    string_to_array($20, E'\n'), $21, $22, string_to_array($23, E'\n'), $24, $25, $26, string_to_array($27, E'\n'));

-- name: anonymize
-- After apply, where customers were deleted, and before their orders of the same batch.
SELECT {schema}.anonymize($1, $2, $3, $4);

-- name: apply_listing
SELECT {schema}.apply_listing($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
                                  $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24);

-- name: no_scans
-- For this transaction: a plan that was made while the table was empty must not scan it when it is large.
SELECT set_config('enable_seqscan', 'off', true);

-- name: park
-- Each one at the version that was read, or not at all; how many that were. Whoever is parked already
-- stays where it stopped first.
WITH parking AS (
    SELECT customer_id, tenant, stream_version, position, reason
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[])
         AS asked (customer_id, tenant, stream_version, position, reason)
), marked AS (
    UPDATE {schema}.customer AS held SET is_stale = true FROM parking
    WHERE held.id = parking.customer_id AND held.version = parking.stream_version - 1
    RETURNING parking.customer_id, parking.tenant, parking.stream_version, parking.position, parking.reason
), stopped AS (
    SELECT customer_id, tenant, stream_version, position, reason FROM marked
    UNION ALL
    SELECT customer_id, tenant, stream_version, position, reason FROM parking
    WHERE stream_version = 1 AND NOT EXISTS (SELECT FROM {schema}.customer WHERE customer.id = parking.customer_id)
), added AS (
    INSERT INTO projection.parked (projection, version, customer_id, tenant, stream_version, position, reason)
    SELECT 'customers', {version}, customer_id, tenant, stream_version, position, reason FROM stopped ORDER BY customer_id
    ON CONFLICT ON CONSTRAINT parked_pk DO NOTHING
)
SELECT count(*) FROM stopped;

-- name: apply_counts
SELECT {schema}.apply_counts($1, $2, $3, $4, $5, $6, $7);

-- name: apply_all
-- The three in one statement, hence in one transaction without a round trip of its own for its
-- beginning, each part and its end. Each sees what those before it have written, as every statement of
-- a volatile function does. They are called from left to right, so counters come last here too; were
-- they not, writers would hold each other up for longer, and nothing else.
SELECT {schema}.apply(
           $1, $2, $3, $4, $5, $6, $7,
           string_to_array($8, E'\n'), string_to_array($9, E'\n'), $10, $11, $12,
           string_to_array($13, E'\n', 'null'), string_to_array($14, E'\n', 'null'),
           string_to_array($15, E'\n'), $16, $17, $18, $19,
           string_to_array($20, E'\n'), $21, $22, string_to_array($23, E'\n'), $24, $25, $26, string_to_array($27, E'\n')),
       {schema}.apply_listing($28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40,
                              $41, $42, $43, $44, $45, $46, $47, $48, $49, $50, $51),
       {schema}.apply_counts($52, $53, $54, $55, $56, $57, $58);
