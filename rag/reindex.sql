-- name: live_index
SELECT space, chunking::text AS chunking FROM indexes WHERE store_id = $1 AND live

-- name: is_building
SELECT EXISTS (SELECT FROM indexes WHERE store_id = $1 AND state = 'building')

-- name: resume
-- What has failed and is asked for again goes on where it was.
UPDATE indexes SET failure = NULL, attempts = 0
WHERE store_id = $1 AND state = 'failed'
  AND (space, model) = ($2, $3) AND chunking IS NOT DISTINCT FROM $4::text::jsonb
RETURNING id

-- name: insert
INSERT INTO indexes (store_id, live, space, model, chunking)
VALUES ($1, false, $2, $3, $4::text::jsonb)
RETURNING id

-- name: retire_built
UPDATE indexes SET retired_at = clock_timestamp()
WHERE store_id = $1 AND state IN ('building', 'failed')
