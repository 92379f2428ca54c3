-- name: announce
-- All times are PostgreSQL's: no other clock matters.
INSERT INTO stray_objects (object, remove_after)
VALUES ($1, clock_timestamp() + interval '1 hour')

-- name: claim
DELETE FROM stray_objects WHERE object = $1 AND NOT doomed RETURNING true

-- name: give_up
-- Waits for a transaction that claims it, and finds nothing when that is committed.
UPDATE stray_objects SET doomed = true WHERE object = $1 RETURNING true

-- name: write_down_again
INSERT INTO stray_objects (object, remove_after, doomed)
SELECT $1, clock_timestamp() + interval '1 hour', true
WHERE NOT EXISTS (SELECT FROM files WHERE object = $1)
ON CONFLICT (object) DO NOTHING RETURNING true

-- name: due
-- Of every tenant: `naru_jobs` sees these rows.
SELECT tenant, array_agg(object) AS objects
FROM (SELECT tenant, object FROM stray_objects WHERE remove_after <= clock_timestamp()
      ORDER BY remove_after LIMIT 1000) AS due
GROUP BY tenant

-- name: doom
UPDATE stray_objects s SET doomed = true
WHERE object = ANY ($1) AND remove_after <= clock_timestamp()
  AND NOT EXISTS (SELECT FROM files f WHERE f.object = s.object)
RETURNING object

-- name: forget
DELETE FROM stray_objects s
WHERE object = ANY ($1) AND (doomed OR EXISTS (SELECT FROM files f WHERE f.object = s.object))
