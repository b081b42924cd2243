-- What the read model "customers", one version of it, holds, beside what the log says.

-- name: streams
-- The customers after one, and what is shown of each; a version of 0: nothing yet.
SELECT stream.customer_id, stream.tenant, stream.version, stream.is_closed, coalesce(tenant.currency, $3),
       coalesce(shown.version, 0), shown.tenant, shown.position, shown.document, shown.item, coalesce(shown.is_stale, false),
       shown.anonymous_reference, parked.stream_version, parked.reason,
       stream.first_position <= (SELECT coalesce(max(last_position), 0) FROM log.archived)
FROM (
    SELECT customer_id, tenant, version, is_closed, first_position FROM log.stream
    WHERE customer_id > $1 ORDER BY customer_id LIMIT $2
) AS stream
LEFT JOIN access.tenant ON tenant.name = stream.tenant
LEFT JOIN {schema}.customer AS shown ON shown.id = stream.customer_id
LEFT JOIN projection.parked ON parked.projection = 'customers' AND parked.version = {version} AND parked.customer_id = stream.customer_id
ORDER BY stream.customer_id;

-- name: count_streams
SELECT count(*) FROM log.stream;

-- name: places
SELECT partition, epoch, position FROM projection.checkpoint
WHERE projection = 'customers' AND version = {version} ORDER BY partition;

-- name: profiles
SELECT profile.id, profile.tenant, profile.created_at, profile.email, profile.email_key, profile.first_key, profile.last_key,
       profile.is_active, ARRAY(SELECT coalesce(tag.name, '?') FROM unnest(profile.tags) AS held (id)
                                LEFT JOIN {schema}.tag ON tag.id = held.id ORDER BY held.id)
FROM {schema}.profile WHERE profile.id = ANY ($1) ORDER BY profile.id;

-- name: activities
SELECT activity.id, activity.tenant, activity.total_spent, activity.order_count, activity.updated_at, activity.last_order_at,
       activity.is_active, ARRAY(SELECT coalesce(tag.name, '?') FROM unnest(activity.tags) AS held (id)
                                 LEFT JOIN {schema}.tag ON tag.id = held.id ORDER BY held.id)
FROM {schema}.activity WHERE activity.id = ANY ($1) ORDER BY activity.id;

-- name: searches
SELECT id, tenant, words, grams FROM {schema}.search WHERE id = ANY ($1) ORDER BY id;

-- name: contributions
SELECT customer_id, order_id, order_version, currency, amount, is_countable, placed_at, order_state
FROM {schema}.contribution WHERE customer_id = ANY ($1) ORDER BY customer_id, order_id;

-- name: anonymous
SELECT reference, tenant, deleted_at FROM {schema}.anonymous WHERE reference = ANY ($1) ORDER BY reference;

-- name: odd_roll_ups
-- Of the customers after one and up to another: whose sums are not those of their orders in the log,
-- up to the version that is shown. Worked out without the projection: docs/guarantees.md, "Roll-ups".
WITH latest AS (
    SELECT DISTINCT ON (event.customer_id, event.data -> 'order' ->> 'orderId')
           event.customer_id, event.data -> 'order' AS said
    FROM log.event JOIN {schema}.customer AS shown ON shown.id = event.customer_id
    WHERE event.customer_id > $1 AND event.customer_id <= $2 AND event.type = $3 AND event.version <= shown.version
    ORDER BY event.customer_id, event.data -> 'order' ->> 'orderId', event.position DESC
), counted AS (
    SELECT customer_id, said ->> 'currency' AS currency, count(*) AS orders, max((said ->> 'placedAt')::timestamptz) AS last_at,
           sum(greatest(0, coalesce((said ->> 'captured')::numeric, (said ->> 'total')::numeric)
                           - coalesce((said ->> 'refunded')::numeric, 0))) AS amount
    FROM latest
    WHERE said ->> 'status' IN ('placed', 'paid', 'completed') AND NOT coalesce((said ->> 'test')::boolean, false)
    GROUP BY customer_id, said ->> 'currency'
), wanted AS (
    SELECT customer_id, sum(orders) AS orders, jsonb_object_agg(currency, amount) AS spent,
           date_trunc('milliseconds', max(last_at)) AS last_at
    FROM counted GROUP BY customer_id
), compared AS (
    SELECT shown.id, shown.document IS NOT NULL AS is_living, coalesce(wanted.orders, 0) AS orders,
           coalesce(wanted.spent, '{}') AS spent, wanted.last_at, coalesce(tenant.currency, $4) AS currency,
           coalesce(shown.document, '{}')::jsonb AS document, activity.order_count, activity.total_spent, activity.last_order_at,
           coalesce(held.orders, 0) AS held_orders, coalesce(held.spent, '{}') AS held_spent
    FROM {schema}.customer AS shown
    LEFT JOIN wanted ON wanted.customer_id = shown.id
    LEFT JOIN access.tenant ON tenant.name = shown.tenant
    LEFT JOIN {schema}.activity ON activity.id = shown.id
    CROSS JOIN LATERAL (
        SELECT sum(orders) AS orders, jsonb_object_agg(currency, amount) AS spent FROM (
            SELECT currency, count(*) AS orders, sum(amount) AS amount FROM {schema}.contribution
            WHERE contribution.customer_id = coalesce(shown.anonymous_reference, shown.id) AND is_countable
            GROUP BY currency
        ) AS by_currency
    ) AS held
    WHERE shown.id > $1 AND shown.id <= $2
)
SELECT id,
       is_living AND order_count IS DISTINCT FROM orders,
       is_living AND total_spent IS DISTINCT FROM coalesce((spent ->> currency)::numeric, 0),
       is_living AND last_order_at IS DISTINCT FROM last_at,
       is_living AND document -> 'orderCount' IS DISTINCT FROM to_jsonb(orders),
       is_living AND document -> 'spentByCurrency' IS DISTINCT FROM spent,
       held_orders <> orders OR held_spent <> spent
FROM compared
WHERE held_orders <> orders OR held_spent <> spent
   OR is_living AND (order_count IS DISTINCT FROM orders
                     OR total_spent IS DISTINCT FROM coalesce((spent ->> currency)::numeric, 0)
                     OR last_order_at IS DISTINCT FROM last_at
                     OR document -> 'orderCount' IS DISTINCT FROM to_jsonb(orders)
                     OR document -> 'spentByCurrency' IS DISTINCT FROM spent)
ORDER BY id;

-- name: ownerless
-- Rows of nobody whom the log knows, and orders that belong to nobody; how many in all.
SELECT place, id, count(*) OVER () FROM (
    SELECT 'customer' AS place, shown.id FROM {schema}.customer AS shown
    WHERE NOT EXISTS (SELECT FROM log.stream WHERE stream.customer_id = shown.id)
    UNION ALL SELECT 'profile', profile.id FROM {schema}.profile
    WHERE NOT EXISTS (SELECT FROM log.stream WHERE stream.customer_id = profile.id)
    UNION ALL SELECT 'activity', activity.id FROM {schema}.activity
    WHERE NOT EXISTS (SELECT FROM log.stream WHERE stream.customer_id = activity.id)
    UNION ALL SELECT 'search', search.id FROM {schema}.search
    WHERE NOT EXISTS (SELECT FROM log.stream WHERE stream.customer_id = search.id)
    UNION ALL SELECT 'contribution', contribution.customer_id FROM {schema}.contribution
    WHERE NOT EXISTS (SELECT FROM log.stream WHERE stream.customer_id = contribution.customer_id)
      AND NOT EXISTS (SELECT FROM {schema}.anonymous WHERE anonymous.reference = contribution.customer_id)
    UNION ALL SELECT 'anonymous', anonymous.reference FROM {schema}.anonymous
    WHERE NOT EXISTS (SELECT FROM {schema}.customer AS shown WHERE shown.anonymous_reference = anonymous.reference)
    UNION ALL SELECT 'parked', parked.customer_id FROM projection.parked
    WHERE projection = 'customers' AND version = {version}
      AND NOT EXISTS (SELECT FROM log.stream WHERE stream.customer_id = parked.customer_id)
) AS row
ORDER BY place, id LIMIT $1;

-- name: odd_tags
-- Tags of a profile that `tagged` lacks, and rows of `tagged` that no profile has; how many of each.
SELECT id, is_missing, in_all FROM (
    SELECT id, is_missing, count(*) OVER (PARTITION BY is_missing) AS in_all,
           row_number() OVER (PARTITION BY is_missing ORDER BY id) AS number
    FROM (
        SELECT profile.id, true AS is_missing
        FROM {schema}.profile CROSS JOIN LATERAL unnest(profile.tags) AS held (tag)
        WHERE NOT EXISTS (SELECT FROM {schema}.tagged
                          WHERE tagged.tag = held.tag AND tagged.created_at = profile.created_at AND tagged.id = profile.id)
        UNION ALL
        SELECT tagged.id, false
        FROM {schema}.tagged
        LEFT JOIN {schema}.profile ON profile.id = tagged.id AND profile.created_at = tagged.created_at
        WHERE profile.id IS NULL OR tagged.tag <> ALL (profile.tags)
    ) AS odd
) AS row
WHERE number <= $1
ORDER BY id, is_missing;

-- name: odd_counts
-- Counters that are not what profiles add up to; how many in all.
SELECT place, held, counted, count(*) OVER () FROM (
    SELECT 'counter' AS place, coalesce(held.count, 0) AS held, coalesce(counted.count, 0) AS counted
    FROM {schema}.counter AS held
    FULL JOIN (
        SELECT profile.tenant, tag.id AS tag, profile.is_active, count(*) AS count
        FROM {schema}.profile CROSS JOIN LATERAL unnest(array_append(profile.tags, 0)) AS tag (id)
        GROUP BY profile.tenant, tag.id, profile.is_active
    ) AS counted ON counted.tenant = held.tenant AND counted.tag = held.tag AND counted.is_active = held.is_active
    UNION ALL
    SELECT 'day', coalesce(held.count, 0), coalesce(counted.count, 0)
    FROM {schema}.day AS held
    FULL JOIN (
        SELECT tenant, (created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS count
        FROM {schema}.profile GROUP BY tenant, (created_at AT TIME ZONE 'UTC')::date
    ) AS counted ON counted.tenant = held.tenant AND counted.day = held.day
) AS row
WHERE held <> counted
ORDER BY place, held, counted LIMIT $1;
