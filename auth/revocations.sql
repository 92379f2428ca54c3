-- name: record_token
INSERT INTO revocations (kind, subject, expires_at) VALUES ('token', $1, $2)
ON CONFLICT (kind, subject) DO NOTHING

-- name: record_clients
INSERT INTO revocations (kind, subject, generation, expires_at)
SELECT 'client', id, generation, now() + make_interval(secs => $3)
FROM unnest($1::text[], $2::integer[]) AS clients (id, generation)
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
-- What was committed since the horizon of the look before, and perhaps a little that is known: a
-- transaction still open then has a number above it. One row at least, for the next horizon. On a
-- server whose numbers are lower (a restored one) everything is read again.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS horizon,
       kind, subject, generation, recorded::text AS recorded, expires_at
FROM (VALUES (1)) AS always
LEFT JOIN revocations
    ON recorded >= CASE WHEN $1::text::xid8 <= pg_snapshot_xmin(pg_current_snapshot())
                        THEN $1::text::xid8 ELSE '0'::xid8 END
   AND expires_at > now()

-- name: clear_revocations
DELETE FROM revocations WHERE expires_at < now()

-- name: clear_used
-- Every process does it; none waits for another's rows.
DELETE FROM used_once WHERE hash IN (
    SELECT hash FROM used_once WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED
)
