-- What the log says of itself, looked at a bounded piece at a time.

-- name: count_events
SELECT count(*) FROM log.event WHERE position > $1 AND position <= $2;

-- name: holes
SELECT series.position FROM generate_series($1::bigint + 1, $2::bigint) AS series (position)
WHERE NOT EXISTS (SELECT FROM log.event WHERE event.position = series.position)
ORDER BY series.position;

-- name: odd_events
-- Of a span: events of a customer who has no stream, and times that go back as positions rise.
SELECT position, customer_id, is_orphan, is_back_in_time FROM (
    SELECT event.position, event.customer_id, stream.customer_id IS NULL AS is_orphan,
           coalesce(event.recorded_at < lag(event.recorded_at) OVER (ORDER BY event.position), false) AS is_back_in_time
    FROM log.event LEFT JOIN log.stream ON stream.customer_id = event.customer_id
    WHERE event.position >= $1 AND event.position <= $2
) AS looked_at
WHERE (is_orphan OR is_back_in_time) AND position > $1
ORDER BY position;

-- name: beyond_head
SELECT event.position, count(*) OVER () FROM log.event
WHERE event.position > (SELECT head.position FROM log.head) ORDER BY event.position LIMIT $1;

-- name: count_streams
SELECT count(*) FROM log.stream;

-- name: streams
-- The streams after a customer, beside what their events say. `odd_version`: the first that is not
-- one more than the one before it.
SELECT stream.customer_id, stream.tenant, stream.version, stream.position, stream.first_position, stream.is_closed,
       stream.first_position <= archive.last_position AS is_archived, kept.version, kept.position,
       held.events, held.versions, held.last_version, held.odd_version, held.first_position, held.last_position,
       held.unordered_position, held.creations, held.deletions, held.foreign_events,
       key.customer_id IS NOT NULL AS has_key, key.wrapped IS NOT NULL AS has_living_key
FROM (
    SELECT customer_id, tenant, version, position, first_position, is_closed
    FROM log.stream WHERE customer_id > $1 ORDER BY customer_id LIMIT $2
) AS stream
CROSS JOIN (SELECT coalesce(max(last_position), 0) AS last_position FROM log.archived) AS archive
LEFT JOIN vault.customer_key AS key ON key.customer_id = stream.customer_id
LEFT JOIN LATERAL (
    SELECT version, position FROM log.snapshot
    WHERE customer_id = stream.customer_id AND position <= archive.last_position ORDER BY version DESC LIMIT 1
) AS kept ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS events, count(DISTINCT version) AS versions, coalesce(max(version), 0) AS last_version,
           min(version) FILTER (WHERE version <> place + coalesce(kept.version, 0)) AS odd_version,
           coalesce(min(position), 0) AS first_position, coalesce(max(position), 0) AS last_position,
           min(position) FILTER (WHERE is_unordered) AS unordered_position,
           count(*) FILTER (WHERE type = $3 AND version = 1) - count(*) FILTER (WHERE type = $3 AND version > 1) AS creations,
           count(*) FILTER (WHERE type = $4) AS deletions,
           count(*) FILTER (WHERE tenant <> stream.tenant) AS foreign_events
    FROM (
        SELECT version, position, type, tenant, row_number() OVER (ORDER BY version, position) AS place,
               position <= lag(position) OVER (ORDER BY version, position) AS is_unordered
        FROM log.event WHERE customer_id = stream.customer_id
    ) AS event
) AS held
ORDER BY stream.customer_id;

-- name: snapshots
-- The states from which these customers' streams go on, each at its version, with what opens it.
SELECT snapshot.customer_id, snapshot.version, snapshot.schema_version, snapshot.sealed, key.wrapped
FROM unnest($1::text[], $2::bigint[]) AS asked (customer_id, version)
JOIN log.snapshot ON snapshot.customer_id = asked.customer_id AND snapshot.version = asked.version
LEFT JOIN vault.customer_key AS key ON key.customer_id = snapshot.customer_id
ORDER BY snapshot.customer_id;

-- name: odd_archived
-- Archived partitions that do not follow the one before them, or begin the log.
SELECT first_position FROM (
    SELECT first_position, lag(last_position, 1, 0::bigint) OVER (ORDER BY first_position) AS before FROM log.archived
) AS archived
WHERE first_position <> before + 1 ORDER BY first_position;

-- name: claimants
-- Who holds each of these claims; NULL = nobody.
SELECT claim.customer_id
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (tenant, email, number)
LEFT JOIN log.email_claim AS claim ON claim.tenant = asked.tenant AND claim.email = asked.email
ORDER BY asked.number;

-- name: odd_claims
-- Claims of nobody who lives, and second claims of one customer; how many in all.
SELECT customer_id, is_living, count(*) OVER () FROM (
    SELECT claim.customer_id, coalesce(NOT stream.is_closed, false) AS is_living,
           row_number() OVER (PARTITION BY claim.customer_id ORDER BY claim.tenant, claim.email) AS number
    FROM log.email_claim AS claim
    LEFT JOIN log.stream ON stream.customer_id = claim.customer_id AND stream.tenant = claim.tenant
) AS claim
WHERE NOT is_living OR number > 1
ORDER BY customer_id LIMIT $1;

-- name: odd_orders
-- Of the customers after one and up to another: orders whose last version in the log is not the one
-- that was accepted last, or whose versions do not rise.
SELECT recorded.customer_id, recorded.position, accepted.order_id IS NULL AS is_missing, recorded.is_unordered
FROM (
    SELECT customer_id, tenant, order_id, max(order_version) AS order_version, max(position) AS position,
           coalesce(bool_or(is_unordered), false) AS is_unordered
    FROM (
        SELECT customer_id, tenant, order_id, order_version, position,
               order_version <= lag(order_version) OVER (PARTITION BY customer_id, tenant, order_id ORDER BY position) AS is_unordered
        FROM (
            SELECT customer_id, tenant, position, data -> 'order' ->> 'orderId' AS order_id,
                   (data -> 'order' ->> 'orderVersion')::bigint AS order_version
            FROM log.event WHERE customer_id > $1 AND customer_id <= $2 AND type = $3
        ) AS event
    ) AS version
    GROUP BY customer_id, tenant, order_id
) AS recorded
LEFT JOIN log.accepted_order AS accepted ON accepted.tenant = recorded.tenant AND accepted.order_id = recorded.order_id
WHERE accepted.order_id IS NULL OR accepted.customer_id <> recorded.customer_id
   OR accepted.order_version <> recorded.order_version OR recorded.is_unordered
ORDER BY recorded.customer_id, recorded.position;

-- name: unrecorded_orders
-- Accepted orders that the log has not recorded, and how many in all: two sets, each read once, since
-- pages of orders would come back to the same customers again and again. Those of customers whose
-- beginning is archived are left out.
SELECT customer_id, count(*) OVER () FROM (
    SELECT customer_id, tenant, order_id FROM log.accepted_order
    WHERE NOT EXISTS (
        SELECT FROM log.stream WHERE stream.customer_id = accepted_order.customer_id
            AND stream.first_position <= (SELECT coalesce(max(last_position), 0) FROM log.archived)
    )
    EXCEPT
    SELECT customer_id, tenant, data -> 'order' ->> 'orderId' FROM log.event WHERE type = $1
) AS odd
ORDER BY customer_id, order_id LIMIT $2;

-- name: idempotency
-- A page of the remembered keys, and whether the log has the event that each answer showed.
SELECT page.tenant, page.key, page.customer_id, page.position,
       event.position IS NOT NULL OR page.position <= (SELECT coalesce(max(last_position), 0) FROM log.archived) AS is_there
FROM (
    SELECT tenant, key, customer_id, version, position FROM log.idempotency
    WHERE (tenant, key) > ($1, $2) ORDER BY tenant, key LIMIT $3
) AS page
LEFT JOIN log.event ON event.position = page.position AND event.customer_id = page.customer_id AND event.version = page.version
ORDER BY page.tenant, page.key;

-- name: acknowledged
-- How far this very topic was filled from this log, as far as that is recorded here.
SELECT position FROM relay.progress WHERE topic = $1 AND topic_id = $2 AND epoch = $3;

-- name: states_place
-- How far the topic of states is written, in this very topic and of this log; no row: it is not.
SELECT position FROM projection.checkpoint
WHERE projection = 'states' AND epoch = $1 AND topic_id = $2;

-- name: shown
-- What is shown of these customers.
SELECT id, version, position, document FROM read_model.customer WHERE id = ANY ($1) ORDER BY id;

-- name: shown_ids
-- Who is shown, a page after a customer; whoever is deleted included.
SELECT id, position FROM read_model.customer WHERE id > $1 ORDER BY id LIMIT $2;
