-- name: wanted
-- Of every tenant: `naru_jobs` sees the files that are in progress.
SELECT claim FROM store_files WHERE claim = ANY ($1) AND status = 'in_progress'

-- name: tell
UPDATE store_files SET chunks_done = $4, chunks_total = $5
WHERE store_id = $1 AND file_id = $2 AND claim = $3 AND status = 'in_progress'
