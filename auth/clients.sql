-- name: create_tenant
INSERT INTO tenants (id, name) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING

-- name: create_client
INSERT INTO clients (id, tenant, name, scopes, default_scopes) VALUES ($1, $2, $3, $4, $4)

-- name: create_secret
INSERT INTO client_secrets (id, client, hash) VALUES ($1, $2, $3)

-- name: find_client
SELECT id, tenant, name, scopes, default_scopes, created_at, disabled_at
FROM clients WHERE id = $1

-- name: find_secret_hashes
-- Both valid ones of a client, and the same shape for a question that has no answer.
SELECT coalesce(array_agg(hash), '{}') FROM client_secrets JOIN clients ON clients.id = client
WHERE client = $1 AND disabled_at IS NULL AND (expires_at IS NULL OR expires_at > now())

-- name: list_clients
SELECT id, tenant, name, scopes, default_scopes, created_at, disabled_at
FROM clients WHERE tenant = $1 ORDER BY created_at, id

-- name: create_key
INSERT INTO api_keys (id, client, hash, scopes) VALUES ($1, $2, $3, $4)

-- name: find_key
SELECT api_keys.id, clients.tenant, clients.id AS client, clients.role,
       clients.scopes AS client_scopes,
       coalesce(api_keys.scopes, clients.scopes) AS scopes
FROM api_keys JOIN clients ON clients.id = api_keys.client
WHERE api_keys.hash = $1 AND api_keys.disabled_at IS NULL AND clients.disabled_at IS NULL
