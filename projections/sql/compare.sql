-- What two versions of the read model show of the same customers: {old} is read, {new} is built.
-- {chosen} stands for whose rows are looked at, {digests} for a piece of its own.

-- name: no_scans
-- For this transaction: few rows are read of large tables, whatever a plan that is kept takes them for.
SELECT set_config('enable_seqscan', 'off', true);

-- name: a_range
id > $1 AND id <= $2

-- name: some
id = ANY ($1)

-- name: digests
-- A number for all that {schema} holds of each customer. Tags by their names, for each version numbers
-- them by itself; what is a set, in order or as a sum.
SELECT id, sum(digest) AS digest FROM (
    SELECT id, hashtextextended(ROW('customer', tenant, version, position, document, item, is_stale, anonymous_reference)::text, 0) AS digest
    FROM {schema}.customer WHERE {chosen}
    UNION ALL
    SELECT id, hashtextextended(ROW('profile', tenant, created_at, email, email_key, first_key, last_key, is_active,
               ARRAY(SELECT tag.name FROM {schema}.tag WHERE tag.id = ANY (profile.tags) ORDER BY tag.name),
               (SELECT count(*) FROM unnest(profile.tags) AS held (tag)
                JOIN {schema}.tagged ON tagged.tag = held.tag AND tagged.created_at = profile.created_at AND tagged.id = profile.id)
           )::text, 0)
    FROM {schema}.profile WHERE {chosen}
    UNION ALL
    SELECT id, hashtextextended(ROW('activity', tenant, total_spent, order_count, updated_at, last_order_at, is_active,
               ARRAY(SELECT tag.name FROM {schema}.tag WHERE tag.id = ANY (activity.tags) ORDER BY tag.name))::text, 0)
    FROM {schema}.activity WHERE {chosen}
    UNION ALL
    SELECT id, hashtextextended(ROW('search', tenant, words, cardinality(grams),
               (SELECT sum(hashint4extended(gram, 0)) FROM unnest(grams) AS gram))::text, 0)
    FROM {schema}.search WHERE {chosen}
    UNION ALL
    SELECT shown.id, hashtextextended(ROW('contribution', contribution.order_id, contribution.order_version, contribution.currency,
               contribution.amount, contribution.is_countable, contribution.placed_at, contribution.order_state)::text, 0)
    FROM (SELECT id, coalesce(anonymous_reference, id) AS owner FROM {schema}.customer WHERE {chosen}) AS shown
    JOIN {schema}.contribution ON contribution.customer_id = shown.owner
    UNION ALL
    SELECT shown.id, hashtextextended(ROW('anonymous', anonymous.tenant, anonymous.deleted_at)::text, 0)
    FROM (SELECT id, anonymous_reference FROM {schema}.customer WHERE {chosen}) AS shown
    JOIN {schema}.anonymous ON anonymous.reference = shown.anonymous_reference
) AS row GROUP BY id

-- name: paired
SELECT coalesce(held.id, made.id) AS id, held.version AS old_version, made.version AS new_version,
       held.position AS old_position, made.position AS new_position,
       held_digest.digest AS old_digest, made_digest.digest AS new_digest,
       EXISTS (SELECT FROM projection.parked WHERE projection = 'customers' AND parked.version = {old_number}
               AND customer_id = coalesce(held.id, made.id)) AS is_parked
FROM (SELECT id, version, position FROM {old}.customer WHERE {chosen}) AS held
FULL JOIN (SELECT id, version, position FROM {new}.customer WHERE {chosen}) AS made ON made.id = held.id
LEFT JOIN ({old_digests}) AS held_digest ON held_digest.id = held.id
LEFT JOIN ({new_digests}) AS made_digest ON made_digest.id = made.id

-- name: bucket
-- Sums over the customers whom both versions show up to the same event; who is parked in {old} apart.
SELECT count(old_version), count(new_version),
       count(*) FILTER (WHERE old_version = new_version AND NOT is_parked),
       coalesce(sum(old_digest) FILTER (WHERE old_version = new_version AND NOT is_parked), 0)::text,
       coalesce(sum(new_digest) FILTER (WHERE old_version = new_version AND NOT is_parked), 0)::text,
       coalesce(array_agg(id ORDER BY id) FILTER (WHERE old_version = new_version AND NOT is_parked AND old_digest <> new_digest), '{}'),
       coalesce(array_agg(id ORDER BY id) FILTER (WHERE old_version IS DISTINCT FROM new_version AND NOT is_parked), '{}'),
       count(*) FILTER (WHERE is_parked)
FROM ({paired}) AS pair

-- name: each
-- One by one, with how far both versions are at that moment.
SELECT id, coalesce(old_version, 0), coalesce(new_version, 0), coalesce(old_position, 0), coalesce(new_position, 0),
       old_digest IS NOT DISTINCT FROM new_digest, is_parked,
       (SELECT coalesce(min(position), 0) FROM projection.checkpoint WHERE projection = 'customers' AND version = {old_number}),
       (SELECT coalesce(min(position), 0) FROM projection.checkpoint WHERE projection = 'customers' AND version = {new_number})
FROM ({paired}) AS pair ORDER BY id
