-- name: insert_part
INSERT INTO file_parts (file_id, part, content) VALUES ($1, $2, $3)

-- name: get_part
SELECT content FROM file_parts WHERE tenant = $1 AND file_id = $2 AND part = $3
