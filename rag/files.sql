-- $2 holds the stores the caller is limited to: then it sees what is in them, and what its client
-- uploaded. NULL stands for no limit. What has expired is not there for anybody.

-- name: insert_file
INSERT INTO files (id, tenant, client, filename, purpose, bytes, expires_at, object)
VALUES ($1, $2, $3, $4, $5, 0, clock_timestamp() + make_interval(secs => $6), $7)

-- name: set_bytes
UPDATE files SET bytes = $2, sha256 = $3 WHERE id = $1
RETURNING id, client, filename, bytes, purpose, created_at, expires_at

-- name: get_files
SELECT id, client, filename, bytes, purpose, created_at, expires_at FROM files f
WHERE tenant = $1 AND ($2::text[] IS NULL OR client = $3 OR EXISTS (
        SELECT FROM store_files s WHERE s.store_id = ANY ($2) AND s.file_id = f.id))
  AND (expires_at IS NULL OR expires_at > clock_timestamp())
  AND id = ANY ($4)

-- name: newest_first
SELECT id, client, filename, bytes, purpose, created_at, expires_at FROM files f
WHERE tenant = $1 AND ($2::text[] IS NULL OR client = $3 OR EXISTS (
        SELECT FROM store_files s WHERE s.store_id = ANY ($2) AND s.file_id = f.id))
  AND (expires_at IS NULL OR expires_at > clock_timestamp())
  AND ($4::text IS NULL OR purpose = $4)
  AND (created_at, id) > ($5, $6) AND (created_at, id) < ($7, $8)
ORDER BY created_at DESC, id DESC LIMIT $9

-- name: oldest_first
SELECT id, client, filename, bytes, purpose, created_at, expires_at FROM files f
WHERE tenant = $1 AND ($2::text[] IS NULL OR client = $3 OR EXISTS (
        SELECT FROM store_files s WHERE s.store_id = ANY ($2) AND s.file_id = f.id))
  AND (expires_at IS NULL OR expires_at > clock_timestamp())
  AND ($4::text IS NULL OR purpose = $4)
  AND (created_at, id) > ($5, $6) AND (created_at, id) < ($7, $8)
ORDER BY created_at, id LIMIT $9

-- name: stores_of_file
SELECT store_id FROM store_files WHERE tenant = $1 AND file_id = $2 ORDER BY store_id

-- name: delete_file
DELETE FROM files WHERE tenant = $1 AND id = $2

-- name: get_object
SELECT object FROM files WHERE id = $1
