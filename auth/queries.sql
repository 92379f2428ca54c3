-- name: create_tenant
INSERT INTO tenants (id, name) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING

-- name: create_client
INSERT INTO clients (id, tenant, name, secret_hash, scopes, default_scopes)
VALUES ($1, $2, $3, $4, $5, $5)

-- name: find_client
SELECT id, tenant, name, secret_hash, scopes, default_scopes, created_at, disabled_at
FROM clients WHERE id = $1

-- name: find_secret_hash
-- One row of the same shape for every question, so that the answer's time says nothing.
SELECT coalesce((SELECT secret_hash FROM clients WHERE id = $1 AND disabled_at IS NULL), $2)

-- name: list_clients
SELECT id, tenant, name, secret_hash, scopes, default_scopes, created_at, disabled_at
FROM clients WHERE tenant = $1 ORDER BY created_at, id

-- name: create_key
INSERT INTO api_keys (id, client, hash, scopes) VALUES ($1, $2, $3, $4)

-- name: find_key
SELECT api_keys.id, clients.tenant, clients.id AS client, clients.scopes AS client_scopes,
       coalesce(api_keys.scopes, clients.scopes) AS scopes
FROM api_keys JOIN clients ON clients.id = api_keys.client
WHERE api_keys.hash = $1 AND api_keys.disabled_at IS NULL AND clients.disabled_at IS NULL

-- name: lock_signing_keys
SELECT pg_advisory_xact_lock($1)

-- name: list_signing_keys
SELECT kid, algorithm, private_key FROM signing_keys ORDER BY created_at DESC, kid

-- name: create_signing_key
INSERT INTO signing_keys (kid, algorithm, private_key, public_jwk)
VALUES ($1, $2, $3, $4::text::jsonb)
