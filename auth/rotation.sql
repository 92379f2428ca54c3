-- name: lock_signing_keys
SELECT pg_advisory_xact_lock($1)

-- name: read_signing_keys
-- The newest first. The database's clock decides, so that replicas agree on which one signs.
SELECT kid, algorithm, private_key, signs_from <= clock_timestamp() AS due,
       created_at < clock_timestamp() - make_interval(days => $1) AS old
FROM signing_keys ORDER BY signs_from DESC, kid

-- name: list_signing_keys
SELECT kid, algorithm, created_at, signs_from,
       CASE WHEN signs_from > now() THEN 'next'
            WHEN signs_from = max(signs_from) FILTER (WHERE signs_from <= now())
                              OVER (PARTITION BY algorithm) THEN 'signing'
            ELSE 'retired' END AS state
FROM signing_keys ORDER BY signs_from DESC, kid

-- name: create_signing_key
INSERT INTO signing_keys (kid, algorithm, private_key, public_jwk, signs_from)
VALUES ($1, $2, $3, $4::text::jsonb, clock_timestamp() + make_interval(secs => $5))

-- name: remove_signing_key
DELETE FROM signing_keys WHERE kid = $1

-- name: clear_signing_keys
-- Those that stopped signing so long ago that their last token is dead. Only a newer key of the
-- algorithm in use ends one: a command with other settings does not retire what a server signs with.
DELETE FROM signing_keys AS old USING signing_keys AS new
WHERE new.algorithm = $1 AND new.signs_from > old.signs_from
  AND new.signs_from < clock_timestamp() - make_interval(secs => $2)
