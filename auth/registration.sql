-- name: create_tenant
INSERT INTO tenants (id, name) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING

-- name: create_client
INSERT INTO clients (id, tenant, name, role, scopes, default_scopes, auth_methods, jwks,
                     assertion_algorithms, dpop, allowed_agents, allowed_models,
                     allowed_vector_stores, end_user, residency)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9, $10, $11, $12, $13, $14, $15)

-- name: create_secret
INSERT INTO client_secrets (id, client, hash) VALUES ($1, $2, $3)

-- name: create_key
INSERT INTO api_keys (id, client, hash, scopes, name) VALUES ($1, $2, $3, $4, $5)
