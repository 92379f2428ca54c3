-- name: lock_signing_keys
SELECT pg_advisory_xact_lock($1)

-- name: list_signing_keys
SELECT kid, algorithm, private_key FROM signing_keys ORDER BY created_at DESC, kid

-- name: create_signing_key
INSERT INTO signing_keys (kid, algorithm, private_key, public_jwk)
VALUES ($1, $2, $3, $4::text::jsonb)
