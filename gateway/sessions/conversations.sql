-- $1 to $4 are the owner's tenant, client and end user, and the conversation.

-- name: insert
INSERT INTO sessions (tenant, client, end_user, id, metadata, expires_at)
VALUES ($1, $2, $3, $4, $5::text::jsonb, now() + $6::interval)
RETURNING id, floor(extract(epoch FROM created_at))::bigint AS created_at, metadata::text;

-- name: find
SELECT id, floor(extract(epoch FROM created_at))::bigint AS created_at, metadata::text
FROM sessions WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4
  AND (expires_at IS NULL OR expires_at > now());

-- name: set_metadata
UPDATE sessions SET metadata = $5::text::jsonb
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4
RETURNING id, floor(extract(epoch FROM created_at))::bigint AS created_at, metadata::text;

-- name: touch
UPDATE sessions SET updated_at = now(), expires_at = now() + $5::interval
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4
RETURNING id;

-- name: add_item
INSERT INTO messages
    (id, tenant, client, end_user, session_id, role, content, status, model, item)
VALUES ($5, $1, $2, $3, $4, $6, $7, $8, $9, $10::text::json);

-- name: item
SELECT id, role, content, status, citations::text, item::text, ordinal FROM messages
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4 AND id = $5;

-- name: items_oldest_first
SELECT id, role, content, status, citations::text, item::text, ordinal FROM messages
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
  AND ($5::bigint IS NULL OR ordinal > $5)
ORDER BY ordinal LIMIT $6;

-- name: items_newest_first
SELECT id, role, content, status, citations::text, item::text, ordinal FROM messages
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
  AND ($5::bigint IS NULL OR ordinal < $5)
ORDER BY ordinal DESC LIMIT $6;

-- name: remove_item
-- A summary that tells of it goes with it.
WITH removed AS (
    DELETE FROM messages
    WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4 AND id = $5
    RETURNING id, ordinal
), forgotten AS (
    UPDATE sessions s SET summary = '', summarized = 0 FROM removed
    WHERE s.tenant = $1 AND s.client = $2 AND s.end_user = $3 AND s.id = $4
      AND s.summarized >= removed.ordinal
)
SELECT id FROM removed;
