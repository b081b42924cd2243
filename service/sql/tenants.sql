-- name: ensure_tenant
-- The tenant's currency, made with the one given where the tenant is new; and whether it is new.
WITH made AS (
    INSERT INTO access.tenant (name, currency) VALUES ($1, $2)
    ON CONFLICT ON CONSTRAINT tenant_pk DO NOTHING
    RETURNING currency
)
SELECT currency, true FROM made
UNION ALL
SELECT currency, false FROM access.tenant WHERE name = $1
LIMIT 1;

-- name: change_currency
-- Refused once an order is in the log: what was spent would change its meaning.
UPDATE access.tenant SET currency = $2
WHERE name = $1 AND NOT EXISTS (
    -- Of each order in the log there is a row, also of archived ones, and of customers who are gone.
    SELECT FROM log.accepted_order WHERE accepted_order.tenant = $1
)
RETURNING name;

-- name: tenants
SELECT name, currency, created_at FROM access.tenant ORDER BY name;
