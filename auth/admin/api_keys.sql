-- $1 holds the tenant whose keys the caller sees; empty stands for every tenant.

-- name: find_key
SELECT api_keys.id, tenant, client, api_keys.name, api_keys.scopes, api_keys.created_at,
       api_keys.disabled_at
FROM api_keys JOIN clients ON clients.id = client
WHERE $1 IN ('', tenant) AND api_keys.id = $2

-- name: list_keys
SELECT api_keys.id, tenant, client, api_keys.name, api_keys.scopes, api_keys.created_at,
       api_keys.disabled_at
FROM api_keys JOIN clients ON clients.id = client
WHERE $1 IN ('', tenant) AND ($2::text IS NULL OR client = $2)
  AND ($3::timestamptz IS NULL OR (api_keys.created_at, api_keys.id) > ($3, $4))
ORDER BY api_keys.created_at, api_keys.id LIMIT $5
