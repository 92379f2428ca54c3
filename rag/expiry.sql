-- name: expired_files
-- Of every tenant, as are the stores: `naru_jobs` sees these rows alone.
SELECT tenant, id FROM files ORDER BY expires_at LIMIT 1000

-- name: expired_stores
SELECT tenant, id FROM vector_stores ORDER BY last_active_at LIMIT 1000

-- name: mark_emptied
UPDATE vector_stores SET emptied = true
WHERE id = $1 AND NOT emptied
  AND store_expires_at(last_active_at, expires_after_days) <= clock_timestamp()
RETURNING true

-- name: remove_files
DELETE FROM store_files WHERE store_id = $1

-- name: remove_indexes
DELETE FROM indexes WHERE store_id = $1
