-- name: customers_by_id
-- Where each customer stands in the log and, unless the read model is behind, what is shown of it.
SELECT stream.customer_id, stream.tenant, stream.version, stream.position, stream.is_closed, customer.document
FROM log.stream
LEFT JOIN read_model.customer ON customer.id = stream.customer_id AND customer.version = stream.version
WHERE stream.customer_id = ANY ($1);

-- name: mark
-- How far the read model is; `mark` in queries_list.sql is the same. An amendment changes rows without
-- any move of a position; it counts as one.
SELECT coalesce(min(position), 0),
       coalesce(sum(position), 0)::bigint + coalesce((SELECT number FROM read_model.amendment), 0), coalesce(max(version), 0), count(*)
FROM read_model.checkpoint;

-- name: members
-- How many carry each of these tags, active and not; the first row is all of the tenant's customers.
SELECT asked.name,
       coalesce(sum(counter.count) FILTER (WHERE counter.is_active), 0)::bigint,
       coalesce(sum(counter.count) FILTER (WHERE NOT counter.is_active), 0)::bigint
FROM (SELECT '' AS name, 0 AS id
      UNION ALL SELECT name, id FROM read_model.tag WHERE tenant = $1 AND name = ANY ($2)) AS asked
LEFT JOIN read_model.counter ON counter.tenant = $1 AND counter.tag = asked.id
GROUP BY asked.name ORDER BY asked.name;

-- name: frequent_grams
-- The most frequent grams of a sample, with the number of rows of it that have them.
SELECT gram, count(*)
FROM (SELECT grams FROM read_model.search_sample LIMIT $1) AS sample, unnest(sample.grams) AS gram
GROUP BY gram HAVING count(*) > 1 ORDER BY count(*) DESC, gram LIMIT $2;

-- name: orders
-- A page of a customer's orders, the latest first, after a place where there is one; with it, on one
-- row at least, where the customer stands, how far the read model is, and how many orders there are.
SELECT stream.tenant, stream.version, stream.is_closed,
       greatest(stream.position, (SELECT min(position) FROM read_model.checkpoint)),
       shown.version, (SELECT count(*) FROM read_model.contribution WHERE customer_id = $1), page.order_state
FROM log.stream
LEFT JOIN read_model.customer AS shown ON shown.id = stream.customer_id
LEFT JOIN LATERAL (
    SELECT placed_at, order_id, order_state FROM read_model.contribution
    WHERE customer_id = $1 AND ($2::timestamptz IS NULL OR (placed_at, order_id) < ($2, $3))
    ORDER BY placed_at DESC, order_id DESC LIMIT $4
) AS page ON true
WHERE stream.customer_id = $1
ORDER BY page.placed_at DESC, page.order_id DESC;
