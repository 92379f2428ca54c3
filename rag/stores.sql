-- $2 holds the stores the caller is limited to; NULL stands for no limit.

-- name: insert_store
WITH store AS (
    INSERT INTO vector_stores (id, tenant, name, metadata) VALUES ($1, $2, $3, $4::text::jsonb)
    RETURNING id
)
INSERT INTO indexes (store_id, live) SELECT id, true FROM store

-- name: get_stores
SELECT s.id, s.name, s.metadata::text AS metadata, s.created_at,
       coalesce(sum(f.usage_bytes), 0)::bigint AS usage_bytes,
       count(*) FILTER (WHERE f.status = 'in_progress') AS in_progress,
       count(*) FILTER (WHERE f.status = 'completed') AS completed,
       count(*) FILTER (WHERE f.status = 'failed') AS failed,
       count(*) FILTER (WHERE f.status = 'cancelled') AS cancelled
FROM vector_stores s LEFT JOIN store_files f ON f.store_id = s.id
WHERE s.tenant = $1 AND ($2::text[] IS NULL OR s.id = ANY ($2)) AND s.id = ANY ($3)
GROUP BY s.id

-- name: ids_newest_first
SELECT id FROM vector_stores
WHERE tenant = $1 AND ($2::text[] IS NULL OR id = ANY ($2))
  AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4))
ORDER BY created_at DESC, id DESC LIMIT $5

-- name: ids_oldest_first
SELECT id FROM vector_stores
WHERE tenant = $1 AND ($2::text[] IS NULL OR id = ANY ($2))
  AND ($3::timestamptz IS NULL OR (created_at, id) > ($3, $4))
ORDER BY created_at, id LIMIT $5

-- name: delete_store
DELETE FROM vector_stores
WHERE tenant = $1 AND ($2::text[] IS NULL OR id = ANY ($2)) AND id = $3

-- name: add_file
INSERT INTO store_files (store_id, file_id) VALUES ($1, $2)
ON CONFLICT (store_id, file_id) DO UPDATE
SET status = 'in_progress', attempts = 0, error_code = NULL, error_message = NULL
WHERE store_files.status IN ('failed', 'cancelled')

-- name: wake_ingest
SELECT pg_notify('naru_ingest', '')

-- name: get_store_file
SELECT f.file_id AS id, f.store_id AS vector_store_id, f.status, f.error_code, f.error_message,
       f.usage_bytes, f.created_at
FROM store_files f JOIN vector_stores s ON s.id = f.store_id
WHERE s.tenant = $1 AND ($2::text[] IS NULL OR s.id = ANY ($2))
  AND f.store_id = $3 AND f.file_id = $4

-- name: files_newest_first
SELECT f.file_id AS id, f.store_id AS vector_store_id, f.status, f.error_code, f.error_message,
       f.usage_bytes, f.created_at
FROM store_files f JOIN vector_stores s ON s.id = f.store_id
WHERE s.tenant = $1 AND ($2::text[] IS NULL OR s.id = ANY ($2)) AND f.store_id = $3
  AND ($4::timestamptz IS NULL OR (f.created_at, f.file_id) < ($4, $5))
ORDER BY f.created_at DESC, f.file_id DESC LIMIT $6

-- name: files_oldest_first
SELECT f.file_id AS id, f.store_id AS vector_store_id, f.status, f.error_code, f.error_message,
       f.usage_bytes, f.created_at
FROM store_files f JOIN vector_stores s ON s.id = f.store_id
WHERE s.tenant = $1 AND ($2::text[] IS NULL OR s.id = ANY ($2)) AND f.store_id = $3
  AND ($4::timestamptz IS NULL OR (f.created_at, f.file_id) > ($4, $5))
ORDER BY f.created_at, f.file_id LIMIT $6
