-- name: get_store_file
-- $2 holds the stores the caller is limited to; NULL stands for no limit.
SELECT f.file_id AS id, f.store_id AS vector_store_id, f.status, f.error_code, f.error_message,
       f.usage_bytes, f.created_at, f.attributes::text, f.chunking::text, f.chunks_total,
       f.chunks_done
FROM store_files f
WHERE f.tenant = $1 AND ($2::text[] IS NULL OR f.store_id = ANY ($2))
  AND f.store_id = $3 AND f.file_id = $4

-- name: newest_first
SELECT f.file_id AS id, f.store_id AS vector_store_id, f.status, f.error_code, f.error_message,
       f.usage_bytes, f.created_at, f.attributes::text, f.chunking::text, f.chunks_total,
       f.chunks_done
FROM store_files f
WHERE f.tenant = $1 AND f.store_id = $2 AND ($3::text IS NULL OR f.status = $3)
  AND ($4::text IS NULL OR f.batch_id = $4)
  AND (f.created_at, f.file_id) > ($5, $6) AND (f.created_at, f.file_id) < ($7, $8)
ORDER BY f.created_at DESC, f.file_id DESC LIMIT $9

-- name: oldest_first
SELECT f.file_id AS id, f.store_id AS vector_store_id, f.status, f.error_code, f.error_message,
       f.usage_bytes, f.created_at, f.attributes::text, f.chunking::text, f.chunks_total,
       f.chunks_done
FROM store_files f
WHERE f.tenant = $1 AND f.store_id = $2 AND ($3::text IS NULL OR f.status = $3)
  AND ($4::text IS NULL OR f.batch_id = $4)
  AND (f.created_at, f.file_id) > ($5, $6) AND (f.created_at, f.file_id) < ($7, $8)
ORDER BY f.created_at, f.file_id LIMIT $9

-- name: update_attributes
WITH used AS (UPDATE vector_stores SET last_active_at = clock_timestamp() WHERE id = $1)
UPDATE store_files SET attributes = $3::text::jsonb WHERE store_id = $1 AND file_id = $2

-- name: content
SELECT c.page, c.start_char, c.end_char, c.content
FROM documents d
JOIN indexes i ON i.id = d.index_id AND i.live
JOIN chunks c ON c.document = d.id
WHERE d.store_id = $1 AND d.file_id = $2
ORDER BY c.ordinal
