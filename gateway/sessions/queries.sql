-- name: touch_session
INSERT INTO sessions (tenant, client, end_user, id, expires_at)
VALUES ($1, $2, $3, $4, now() + $5::interval)
ON CONFLICT (tenant, client, end_user, id)
DO UPDATE SET updated_at = now(), expires_at = excluded.expires_at;

-- name: add_message
INSERT INTO messages
    (id, tenant, client, end_user, session_id, role, content, status, agent, model, citations,
     usage)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12::text::jsonb);

-- name: find_session
SELECT id, extract(epoch FROM created_at)::bigint AS created_at,
       extract(epoch FROM updated_at)::bigint AS updated_at
FROM sessions WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4;

-- name: list_sessions
SELECT id, extract(epoch FROM created_at)::bigint AS created_at,
       extract(epoch FROM updated_at)::bigint AS updated_at
FROM sessions WHERE tenant = $1 AND client = $2 AND end_user = $3
ORDER BY updated_at DESC, id LIMIT $4;

-- name: delete_session
DELETE FROM sessions WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4
RETURNING id;

-- name: list_messages
SELECT id, role, content, status, agent, model, citations::text, usage::text,
       extract(epoch FROM created_at)::bigint AS created_at
FROM messages WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
  AND role IN ('user', 'assistant')
ORDER BY ordinal;

-- name: recent_messages
SELECT role, content FROM (
    SELECT role, content, ordinal FROM messages
    WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
      AND role IN ('user', 'assistant') AND content <> ''
    ORDER BY ordinal DESC LIMIT $5
) AS newest ORDER BY ordinal;
