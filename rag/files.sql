-- name: insert_file
INSERT INTO files (id, tenant, filename, purpose, bytes) VALUES ($1, $2, $3, $4, 0)

-- name: insert_part
INSERT INTO file_parts (file_id, part, content) VALUES ($1, $2, $3)

-- name: set_bytes
UPDATE files SET bytes = $2 WHERE id = $1
RETURNING id, filename, bytes, purpose, created_at

-- name: get_file
SELECT id, filename, bytes, purpose, created_at FROM files WHERE tenant = $1 AND id = $2

-- name: list_newest_first
SELECT id, filename, bytes, purpose, created_at FROM files
WHERE tenant = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
ORDER BY created_at DESC, id DESC LIMIT $4

-- name: list_oldest_first
SELECT id, filename, bytes, purpose, created_at FROM files
WHERE tenant = $1 AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3))
ORDER BY created_at, id LIMIT $4

-- name: stores_of_file
SELECT store_id FROM store_files WHERE file_id = $1 ORDER BY store_id

-- name: delete_file
DELETE FROM files WHERE tenant = $1 AND id = $2

-- name: get_part
SELECT content FROM file_parts WHERE file_id = $1 AND part = $2
