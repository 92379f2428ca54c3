-- name: use
INSERT INTO used_once (hash, expires_at) VALUES ($1, $2)
ON CONFLICT (hash) DO UPDATE SET expires_at = excluded.expires_at
WHERE used_once.expires_at <= now()
RETURNING true
