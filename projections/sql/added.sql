-- What an added projection holds, beside what the log says; {table} is its table.

-- name: streams
-- The customers after one, how far each is applied (a version of 0: nothing yet), and whether the
-- beginning of its stream is archived.
SELECT stream.customer_id, stream.tenant, stream.version, coalesce(reached.stream_version, 0), coalesce(reached.heard_version, 0),
       coalesce(reached.is_gone, false), held.customer_id IS NOT NULL, parked.stream_version, parked.reason,
       stream.first_position <= (SELECT coalesce(max(last_position), 0) FROM log.archived)
FROM (
    SELECT customer_id, tenant, version, first_position FROM log.stream
    WHERE customer_id > $3 ORDER BY customer_id LIMIT $4
) AS stream
LEFT JOIN derived.reached ON reached.projection = $1 AND reached.version = $2 AND reached.customer_id = stream.customer_id
LEFT JOIN projection.parked ON parked.projection = $1 AND parked.version = $2 AND parked.customer_id = stream.customer_id
LEFT JOIN derived.{table} AS held ON held.customer_id = stream.customer_id
ORDER BY stream.customer_id;

-- name: added_places
SELECT partition, epoch, position FROM projection.checkpoint
WHERE projection = $1 AND version = $2 ORDER BY partition;

-- name: odd_rows
-- Which of these columns are not as wanted: a JSON array of whole rows, brought to the columns' types as
-- derived.apply brings them.
SELECT customer_id, columns FROM (
    SELECT wanted.customer_id, ARRAY(
        SELECT name FROM unnest($2::text[]) AS name
        WHERE to_jsonb(wanted) -> name IS DISTINCT FROM to_jsonb(held) -> name ORDER BY name
    ) AS columns
    FROM jsonb_populate_recordset(NULL::derived.{table}, $1) AS wanted
    JOIN derived.{table} AS held ON held.customer_id = wanted.customer_id
) AS compared
WHERE columns <> '{}' ORDER BY customer_id;

-- name: ownerless
-- Rows of nobody whom the log knows; with how many there are.
SELECT held.customer_id, count(*) OVER () FROM derived.{table} AS held
WHERE NOT EXISTS (SELECT FROM log.stream WHERE stream.customer_id = held.customer_id)
ORDER BY held.customer_id LIMIT $1;
