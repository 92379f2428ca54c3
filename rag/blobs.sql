-- name: insert_part
INSERT INTO file_parts (file_id, part, content) VALUES ($1, $2, $3)

-- name: get_part
SELECT content FROM file_parts WHERE tenant = $1 AND file_id = $2 AND part = $3

-- name: announce
-- All times are PostgreSQL's: no other clock matters.
INSERT INTO stray_objects (object, remove_after)
VALUES ($1, clock_timestamp() + interval '1 hour')

-- name: claim
DELETE FROM stray_objects WHERE object = $1 AND NOT doomed RETURNING true

-- name: give_up
-- Waits for a transaction that claims it, and finds nothing when that is committed.
UPDATE stray_objects SET doomed = true WHERE object = $1 RETURNING true
