-- name: is_revoked
SELECT EXISTS (SELECT FROM revocations WHERE kind = 'token' AND subject = $1)
