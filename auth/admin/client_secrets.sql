-- name: list_secrets
SELECT id, created_at, expires_at FROM client_secrets
WHERE client = $1 AND (expires_at IS NULL OR expires_at > now())
ORDER BY created_at, id

-- name: delete_expired
DELETE FROM client_secrets WHERE client = $1 AND expires_at <= now()

-- name: let_expire
UPDATE client_secrets SET
    expires_at = least(coalesce(expires_at, 'infinity'), now() + make_interval(secs => $2))
WHERE client = $1

-- name: delete_secret
DELETE FROM client_secrets WHERE client = $1 AND id = $2
