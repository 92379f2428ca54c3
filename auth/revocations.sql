-- name: record_token
INSERT INTO revocations (kind, subject, expires_at) VALUES ('token', $1, $2)
ON CONFLICT (kind, subject) DO NOTHING

-- name: record_client
INSERT INTO revocations (kind, subject, generation, expires_at)
VALUES ('client', $1, $2, now() + make_interval(secs => $3))
ON CONFLICT (kind, subject) DO UPDATE SET
    generation = greatest(revocations.generation, excluded.generation),
    recorded = excluded.recorded,
    expires_at = excluded.expires_at

-- name: record_key
INSERT INTO revocations (kind, subject, expires_at)
VALUES ('key', $1, now() + make_interval(secs => $2))
ON CONFLICT (kind, subject) DO UPDATE SET
    recorded = excluded.recorded,
    expires_at = excluded.expires_at

-- name: list_since
-- One row at least: it says where the next look begins. What commits later has a higher number.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS horizon,
       kind, subject, generation, recorded::text AS recorded, expires_at
FROM (VALUES (1)) AS always
LEFT JOIN revocations ON recorded >= $1::text::xid8 AND expires_at > now()

-- name: clear_revocations
DELETE FROM revocations WHERE expires_at < now()

-- name: clear_used
DELETE FROM used_once WHERE expires_at < now()
