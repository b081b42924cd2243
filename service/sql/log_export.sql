-- name: opened
-- Events of positions `first` to `last`, of one `tenant` or (empty) of all, in position order, with what opens
-- those that are sealed. `state`: c as it lies there, s sealed, f the key is destroyed, l the key is lost. What is
-- sealed is blank in `data`, so only one of both is sent. Each key is looked up by itself: no plan may scan all of
-- them. An argument in a SELECT of its own is looked up once, and leads to the index as a parameter would.
SELECT event.position, event.id, event.tenant, event.customer_id, event.version, event.type, event.schema_version,
       (date_part('epoch', event.recorded_at) * 1000)::bigint, event.meta -> 'actor',
       CASE WHEN event.sealed IS NULL THEN 'c' WHEN held.wrapped IS NOT NULL THEN 's' WHEN held.is_destroyed THEN 'f' ELSE 'l' END AS state,
       CASE WHEN held.wrapped IS NULL THEN event.data END,
       CASE WHEN held.wrapped IS NOT NULL THEN encode(event.sealed, 'hex') END, encode(held.wrapped, 'hex')
FROM log.event
LEFT JOIN LATERAL (
    SELECT key.wrapped, key.wrapped IS NULL AS is_destroyed FROM vault.customer_key AS key
    WHERE key.customer_id = event.customer_id AND event.sealed IS NOT NULL OFFSET 0
) AS held ON true
WHERE event.position >= (SELECT current_setting('customers.first')::bigint)
  AND event.position <= (SELECT current_setting('customers.last')::bigint)
  AND ((SELECT current_setting('customers.tenant') = '') OR event.tenant = (SELECT current_setting('customers.tenant')))
ORDER BY event.position

-- name: blanked
-- The same without anything personal: neither keys nor what is sealed is read.
SELECT event.position, event.id, event.tenant, event.customer_id, event.version, event.type, event.schema_version,
       (date_part('epoch', event.recorded_at) * 1000)::bigint, event.meta -> 'actor', 'c', event.data, NULL, NULL
FROM log.event
WHERE event.position >= (SELECT current_setting('customers.first')::bigint)
  AND event.position <= (SELECT current_setting('customers.last')::bigint)
  AND ((SELECT current_setting('customers.tenant') = '') OR event.tenant = (SELECT current_setting('customers.tenant')))
ORDER BY event.position
