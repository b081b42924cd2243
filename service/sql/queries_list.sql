-- The customer list, in pieces. `service/queries/list_statement.py` puts them together: {name} stands
-- for another piece, :name for a value that is sent beside the statement. A value that is wrapped in
-- a subselect is hidden from the planner on purpose: the plan is then the same for every value, so the
-- server plans once and keeps it.

-- name: answer
-- One row: how far the read model is, the count, whether a capped walk ended too early, the finished
-- items in order, and the id and sort keys of the last row that is shown. An item is as it is stored; a
-- parked customer's says that it is stale (`CustomerItem`).
{matched}
SELECT {mark}, {count}, {is_cut},
       array_agg((SELECT CASE WHEN is_stale THEN left(item, -1) || ',"stale":' || 'true}}' ELSE item END FROM read_model.customer WHERE customer.id = page.id)),
       (array_agg(page.id))[:last]{last_keys}
FROM ({page}) AS page

-- name: last_key
, (array_agg(page.key_{number}))[:last]

-- name: mark
(SELECT ARRAY[coalesce(min(position), 0), coalesce(sum(position), 0)::bigint + coalesce((SELECT number FROM read_model.amendment), 0),
              coalesce(max(version), 0)::bigint, count(*)]
 FROM read_model.checkpoint)

-- name: from_profile
read_model.profile AS base

-- name: from_activity
read_model.activity AS base

-- name: from_search
read_model.search AS base

-- name: from_tagged
read_model.tagged AS base

-- name: from_capped
-- Only so many entries of an index, in its order: what a walk may cost at most.
(SELECT id, {columns}, tags, is_active FROM {table}
 WHERE {where} ORDER BY {order} LIMIT (SELECT :entries_max::bigint)) AS base

-- name: look_up_profile
-- What stands in another table is looked up row by row, in a subselect: a join would be the planner's
-- to turn round, and it does not know how few rows there are.
(SELECT {wanted} FROM read_model.profile WHERE profile.id = base.id)

-- name: look_up_activity
(SELECT {wanted} FROM read_model.activity WHERE activity.id = base.id)

-- name: look_up_search
(SELECT {wanted} FROM read_model.search WHERE search.id = base.id)

-- name: tag_id
(SELECT id FROM read_model.tag WHERE tenant = :tenant AND name = :tag_{number})

-- name: filter_tenant
tenant = :tenant

-- name: filter_tagged
tag = {tag_id}

-- name: filter_has_tag
-- Checked entry by entry, never through the index of tags.
{tag_id} = ANY (tags)

-- name: filter_tags
-- Found through the index of tags.
tags @> ARRAY[{tag_ids}]

-- name: filter_grams
grams @> (SELECT :grams::integer[])

-- name: filter_patterns
words LIKE ALL ((SELECT :patterns::text[])::text[])

-- name: filter_since
created_at > :since

-- name: filter_until
created_at < :until

-- name: filter_updated_since
updated_at > :updated_since

-- name: filter_active
is_active

-- name: filter_inactive
NOT is_active

-- name: filter_email
-- The index has the sort key, which begins with the folded address and may be cut off after it.
email_key >= :email_from AND email_key < :email_to AND email = :email

-- name: filter_min_spent
total_spent >= :min_spent

-- name: filter_max_spent
total_spent <= :max_spent

-- name: filter_min_orders
order_count >= :min_orders::bigint

-- name: filter_max_orders
order_count <= :max_orders::bigint

-- name: columns
{left}, {right}

-- name: column_id
id

-- name: column_createdAt
created_at

-- name: column_updatedAt
updated_at

-- name: column_email
email_key

-- name: column_firstName
first_key

-- name: column_lastName
last_key

-- name: column_orderCount
order_count

-- name: column_totalSpent
total_spent

-- name: column_lastOrderAt
last_order_at

-- name: ascending
-- In PostgreSQL what has no value comes last of itself.
{column}

-- name: descending
-- As an index is read backwards: for columns that have a value in every row.
{column} DESC

-- name: descending_empty_last
{column} DESC NULLS LAST

-- name: select_keys
SELECT id{keys} FROM {source} WHERE {where}

-- name: ordered
{select} ORDER BY {order}

-- name: key
, {column} AS key_{number}

-- name: first_page
-- The constant tells the planner that few rows are wanted; it is the largest page and one row more.
SELECT * FROM ({select} LIMIT 101) AS bounded LIMIT :rows

-- name: later_page
{select} LIMIT :rows OFFSET :offset

-- name: later_page_from_far_end
-- The same rows read from the other end, in reverse. {count} is what lies between the two ends.
{select}
LIMIT greatest(0, least(:rows, {count} - :offset)) OFFSET greatest(0, {count} - :offset - :rows)

-- name: valued_then_empty
-- Rows with a value for the first sort key, then rows without: each in the order of the index. The
-- second half is read only where the first leaves room.
WITH valued AS MATERIALIZED ({valued}),
     empty AS MATERIALIZED (SELECT * FROM ({empty}) AS bounded LIMIT :rows - (SELECT count(*) FROM valued))
SELECT * FROM valued UNION ALL SELECT * FROM empty

-- name: valued_then_empty_later
WITH valued AS MATERIALIZED ({valued}),
     empty AS MATERIALIZED ({empty} LIMIT :rows - (SELECT count(*) FROM valued)
         OFFSET CASE WHEN EXISTS (SELECT FROM valued) THEN 0
                     ELSE greatest(0, :offset - (SELECT count(*) FROM {source} WHERE {where})) END)
SELECT * FROM valued UNION ALL SELECT * FROM empty

-- name: has_value
{column} IS NOT NULL

-- name: has_no_value
{column} IS NULL

-- name: day_descending
-- The day on which row number `offset` was created, and how many rows come before that day.
WITH jump AS MATERIALIZED (
    SELECT day, before FROM (
        SELECT day, sum(count) OVER (ORDER BY day DESC) - count AS before FROM read_model.day WHERE tenant = :tenant
    ) AS running WHERE before <= :offset ORDER BY before DESC, day LIMIT 1
)
SELECT id, created_at AS key_1 FROM read_model.profile
WHERE tenant = :tenant AND created_at < (SELECT (day + 1)::timestamp AT TIME ZONE 'UTC' FROM jump)
ORDER BY created_at DESC, id DESC LIMIT :rows OFFSET :offset - (SELECT before FROM jump)

-- name: day_ascending
WITH jump AS MATERIALIZED (
    SELECT day, before FROM (
        SELECT day, sum(count) OVER (ORDER BY day) - count AS before FROM read_model.day WHERE tenant = :tenant
    ) AS running WHERE before <= :offset ORDER BY before DESC, day DESC LIMIT 1
)
SELECT id, created_at AS key_1 FROM read_model.profile
WHERE tenant = :tenant AND created_at >= (SELECT day::timestamp AT TIME ZONE 'UTC' FROM jump)
ORDER BY created_at, id LIMIT :rows OFFSET :offset - (SELECT before FROM jump)

-- name: matched
WITH matched AS MATERIALIZED ({select})

-- name: from_matched
-- matched.* is id and key_1, key_2 …
SELECT * FROM matched WHERE {where} ORDER BY {order} LIMIT :rows OFFSET :offset

-- name: key_name
key_{number}

-- name: is_cut
-- Too few rows, and the cap ended before the index did.
CASE WHEN count(*) < :rows THEN EXISTS (
    SELECT FROM {table} WHERE {where} ORDER BY {order} OFFSET (SELECT :entries_max::bigint) LIMIT 1
) ELSE false END

-- name: is_not_cut
false

-- name: count_all
(SELECT coalesce(sum(counter.count), 0)::bigint FROM read_model.counter AS counter
 WHERE counter.tenant = :tenant AND counter.tag = 0 {activity})

-- name: count_tag
(SELECT coalesce(sum(counter.count), 0)::bigint FROM read_model.counter AS counter
 WHERE counter.tenant = :tenant AND counter.tag = {tag_id} {activity})

-- name: count_only_active
AND counter.is_active

-- name: count_only_inactive
AND NOT counter.is_active

-- name: count_known
-- Counted before, at a mark that has to be the same as this statement's.
:matches::bigint

-- name: count_alone
SELECT {mark}, {count}

-- name: count_scan
(SELECT count(*) FROM {source} WHERE {where})

-- name: count_matched
(SELECT count(*) FROM matched)

-- name: count_since
-- Whole days by their counter, the day of the bound by its rows.
(SELECT count(*) FROM read_model.profile WHERE tenant = :tenant AND created_at > :since
    AND created_at < (:since_day::date + 1)::timestamp AT TIME ZONE 'UTC')
+ (SELECT coalesce(sum(day.count), 0)::bigint FROM read_model.day WHERE tenant = :tenant AND day > :since_day)

-- name: count_until
(SELECT count(*) FROM read_model.profile WHERE tenant = :tenant AND created_at < :until
    AND created_at >= :until_day::date::timestamp AT TIME ZONE 'UTC')
+ (SELECT coalesce(sum(day.count), 0)::bigint FROM read_model.day WHERE tenant = :tenant AND day < :until_day)

-- name: count_between
(SELECT count(*) FROM read_model.profile WHERE tenant = :tenant AND created_at > :since
    AND created_at < (:since_day::date + 1)::timestamp AT TIME ZONE 'UTC')
+ (SELECT count(*) FROM read_model.profile WHERE tenant = :tenant AND created_at < :until
    AND created_at >= :until_day::date::timestamp AT TIME ZONE 'UTC')
+ (SELECT coalesce(sum(day.count), 0)::bigint FROM read_model.day
   WHERE tenant = :tenant AND day > :since_day AND day < :until_day)

-- name: and
{left} AND {right}

-- name: or
({left} OR {right})

-- name: everything
true

-- name: row_above
-- After a row in ascending order: two columns compared as one, so an index can start right there.
({column}, id) > (:key_1, :key_id)

-- name: row_below
({column}, id) < (:key_1, :key_id)

-- name: above
{column} > :{value}

-- name: below
{column} < :{value}

-- name: not_below
{column} >= :{value}

-- name: not_above
{column} <= :{value}

-- name: same
{column} = :{value}
