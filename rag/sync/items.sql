-- name: all
SELECT i.key, i.fingerprint, i.file_id, i.sha256, f.status, f.error_code,
       i.next_file_id, i.next_sha256, n.status AS next_status, n.error_code AS next_error_code, i.failure
FROM source_items i
LEFT JOIN store_files f ON f.store_id = $2 AND f.file_id = i.file_id
LEFT JOIN store_files n ON n.store_id = $2 AND n.file_id = i.next_file_id
WHERE i.source_id = $1

-- name: lock
SELECT i.key, i.fingerprint, i.file_id, i.sha256, f.status, f.error_code,
       i.next_file_id, i.next_sha256, n.status AS next_status, n.error_code AS next_error_code, i.failure
FROM source_items i
LEFT JOIN store_files f ON f.store_id = $2 AND f.file_id = i.file_id
LEFT JOIN store_files n ON n.store_id = $2 AND n.file_id = i.next_file_id
WHERE i.source_id = $1 AND i.key = $3
FOR UPDATE OF i

-- name: put
INSERT INTO source_items
    (source_id, key, fingerprint, file_id, sha256, next_file_id, next_sha256)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (source_id, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, file_id = excluded.file_id, sha256 = excluded.sha256,
    next_file_id = excluded.next_file_id, next_sha256 = excluded.next_sha256, failure = NULL

-- name: fail
-- Its fingerprint stays that of what was fetched: the next run tries again.
INSERT INTO source_items (source_id, key, failure) VALUES ($1, $2, $3)
ON CONFLICT (source_id, key) DO UPDATE SET failure = excluded.failure

-- name: remove
DELETE FROM source_items WHERE source_id = $1 AND key = $2

-- name: take_place
-- $1 has been read: it takes the place of the version before, which is returned.
WITH item AS (
    SELECT source_id, key, file_id FROM source_items WHERE next_file_id = $1 FOR UPDATE
)
UPDATE source_items i
SET file_id = i.next_file_id, sha256 = i.next_sha256, next_file_id = NULL, next_sha256 = NULL
FROM item WHERE i.source_id = item.source_id AND i.key = item.key
RETURNING item.file_id AS former

-- name: delete_file
-- Another store may hold it, whoever put it there.
DELETE FROM files f WHERE f.id = $1 AND NOT EXISTS (
    SELECT FROM store_files s WHERE s.file_id = f.id
)

-- name: files
SELECT unnest(ARRAY[file_id, next_file_id]) AS id FROM source_items WHERE source_id = $1
