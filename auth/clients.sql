-- name: find_client
SELECT clients.id, tenant, clients.name, role, scopes, default_scopes, auth_methods,
       jwks::text AS jwks, assertion_algorithms, dpop, allowed_agents, allowed_models,
       allowed_vector_stores, end_user, residency, generation, clients.created_at,
       coalesce(clients.disabled_at, tenants.disabled_at) AS disabled_at
FROM clients JOIN tenants ON tenants.id = tenant
WHERE clients.id = $1

-- name: find_secret_hashes
-- Those valid now, at most two, and the same shape for a question that has no answer.
SELECT coalesce(array_agg(hash), '{}') FROM client_secrets
WHERE client = $1 AND (expires_at IS NULL OR expires_at > now())

-- name: find_key
-- None of a client that is sender-constrained: a key proves nothing but that somebody has it.
SELECT api_keys.id, tenant, clients.id AS client, role, clients.scopes AS client_scopes,
       coalesce(api_keys.scopes, clients.scopes) AS scopes,
       allowed_agents, allowed_models, allowed_vector_stores, end_user, residency
FROM api_keys
JOIN clients ON clients.id = api_keys.client
JOIN tenants ON tenants.id = tenant
WHERE api_keys.hash = $1 AND api_keys.disabled_at IS NULL AND clients.disabled_at IS NULL
  AND tenants.disabled_at IS NULL AND NOT clients.dpop

-- name: disable_key
UPDATE api_keys SET disabled_at = now() WHERE id = $1 AND disabled_at IS NULL
