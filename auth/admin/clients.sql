-- $1 holds the tenant whose clients the caller sees; empty stands for every tenant.

-- name: find_client
SELECT clients.id, tenant, clients.name, role, scopes, default_scopes, auth_methods,
       jwks::text AS jwks, assertion_algorithms, dpop, allowed_agents, allowed_models,
       allowed_vector_stores, end_user, residency, generation, clients.created_at,
       coalesce(clients.disabled_at, tenants.disabled_at) AS disabled_at
FROM clients JOIN tenants ON tenants.id = tenant
WHERE $1 IN ('', tenant) AND clients.id = $2

-- name: list_clients
SELECT clients.id, tenant, clients.name, role, scopes, default_scopes, auth_methods,
       jwks::text AS jwks, assertion_algorithms, dpop, allowed_agents, allowed_models,
       allowed_vector_stores, end_user, residency, generation, clients.created_at,
       coalesce(clients.disabled_at, tenants.disabled_at) AS disabled_at
FROM clients JOIN tenants ON tenants.id = tenant
WHERE $1 IN ('', tenant)
  AND ($2::timestamptz IS NULL OR (clients.created_at, clients.id) > ($2, $3))
ORDER BY clients.created_at, clients.id LIMIT $4

-- name: lock_client
-- Its own row alone: `disabled_at` says nothing of its tenant here.
SELECT id, tenant, name, role, scopes, default_scopes, auth_methods, jwks::text AS jwks,
       assertion_algorithms, dpop, allowed_agents, allowed_models, allowed_vector_stores, end_user,
       residency, generation, created_at, disabled_at
FROM clients WHERE $1 IN ('', tenant) AND id = $2 FOR UPDATE

-- name: update_client
UPDATE clients SET
    name = $2, role = $3, scopes = $4, default_scopes = $5, auth_methods = $6,
    jwks = $7::text::jsonb, assertion_algorithms = $8, dpop = $9, allowed_agents = $10,
    allowed_models = $11, allowed_vector_stores = $12, end_user = $13, residency = $14,
    disabled_at = $15
WHERE id = $1

-- name: delete_secrets
DELETE FROM client_secrets WHERE client = $1

-- name: raise_generation
UPDATE clients SET generation = generation + 1 WHERE id = $1 RETURNING generation

-- name: lock_operators
SELECT pg_advisory_xact_lock($1)

-- name: an_operator_is_left
SELECT EXISTS (
    SELECT FROM clients JOIN tenants ON tenants.id = tenant
    WHERE role = 'operator' AND 'admin' = ANY (scopes)
      AND clients.disabled_at IS NULL AND tenants.disabled_at IS NULL
)
