-- $2 holds the stores the caller is limited to; NULL stands for no limit.

-- name: insert_store
WITH store AS (
    INSERT INTO vector_stores (id, tenant, name, description, metadata, expires_after_days)
    VALUES ($1, $2, $3, $4, $5::text::jsonb, $6)
    RETURNING id
)
INSERT INTO indexes (store_id, live) SELECT id, true FROM store

-- name: get_stores
SELECT s.id, s.name, s.description, s.metadata::text AS metadata, s.created_at, s.last_active_at,
       s.expires_after_days, expiry.at AS expires_at,
       coalesce(expiry.at <= clock_timestamp(), false) AS expired, counts.*, reindex.*
FROM vector_stores s
CROSS JOIN LATERAL (
    SELECT store_expires_at(s.last_active_at, s.expires_after_days) AS at
) AS expiry
CROSS JOIN LATERAL (
    SELECT coalesce(sum(usage_bytes), 0)::bigint AS usage_bytes,
           coalesce(sum(files) FILTER (WHERE status = 'in_progress'), 0)::bigint AS in_progress,
           coalesce(sum(files) FILTER (WHERE status = 'completed'), 0)::bigint AS completed,
           coalesce(sum(files) FILTER (WHERE status = 'failed'), 0)::bigint AS failed,
           coalesce(sum(files) FILTER (WHERE status = 'cancelled'), 0)::bigint AS cancelled
    FROM store_counts WHERE store_id = s.id
) AS counts
LEFT JOIN LATERAL (
    -- That which is built or has failed, else the live one where it was built.
    SELECT i.state, i.model, i.chunking::text AS chunking, i.created_at AS started_at, i.failure,
           CASE WHEN NOT i.live THEN (SELECT count(*) FROM documents d WHERE d.index_id = i.id)
           END AS documents_done
    FROM indexes i
    WHERE i.store_id = s.id AND i.state <> 'retired' AND i.model IS NOT NULL
    ORDER BY i.live LIMIT 1
) AS reindex ON true
WHERE s.tenant = $1 AND ($2::text[] IS NULL OR s.id = ANY ($2)) AND s.id = ANY ($3)

-- name: ids_newest_first
SELECT id FROM vector_stores
WHERE tenant = $1 AND ($2::text[] IS NULL OR id = ANY ($2))
  AND (created_at, id) > ($3, $4) AND (created_at, id) < ($5, $6)
ORDER BY created_at DESC, id DESC LIMIT $7

-- name: ids_oldest_first
SELECT id FROM vector_stores
WHERE tenant = $1 AND ($2::text[] IS NULL OR id = ANY ($2))
  AND (created_at, id) > ($3, $4) AND (created_at, id) < ($5, $6)
ORDER BY created_at, id LIMIT $7

-- name: update_store
UPDATE vector_stores
SET name = coalesce($2, name), metadata = coalesce($3::text::jsonb, metadata),
    expires_after_days = CASE WHEN $4::integer IS NULL THEN expires_after_days
                              ELSE nullif($4, 0) END,
    last_active_at = clock_timestamp()
WHERE id = $1

-- name: delete_store
DELETE FROM vector_stores
WHERE tenant = $1 AND ($2::text[] IS NULL OR id = ANY ($2)) AND id = $3
