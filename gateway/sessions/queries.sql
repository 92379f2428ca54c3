-- name: touch_session
INSERT INTO sessions (tenant, client, id) VALUES ($1, $2, $3)
ON CONFLICT (tenant, client, id) DO UPDATE SET updated_at = now();

-- name: add_message
INSERT INTO messages
    (id, tenant, client, session_id, role, content, status, agent, model, citations, usage)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11::text::jsonb);

-- name: find_session
SELECT id, extract(epoch FROM created_at)::bigint AS created_at,
       extract(epoch FROM updated_at)::bigint AS updated_at
FROM sessions WHERE tenant = $1 AND client = $2 AND id = $3;

-- name: list_sessions
SELECT id, extract(epoch FROM created_at)::bigint AS created_at,
       extract(epoch FROM updated_at)::bigint AS updated_at
FROM sessions WHERE tenant = $1 AND client = $2
ORDER BY updated_at DESC, id LIMIT $3;

-- name: delete_session
DELETE FROM sessions WHERE tenant = $1 AND client = $2 AND id = $3 RETURNING id;

-- name: list_messages
SELECT id, role, content, status, agent, model, citations::text, usage::text,
       extract(epoch FROM created_at)::bigint AS created_at
FROM messages WHERE tenant = $1 AND client = $2 AND session_id = $3 ORDER BY ordinal;

-- name: recent_messages
SELECT role, content FROM (
    SELECT role, content, ordinal FROM messages
    WHERE tenant = $1 AND client = $2 AND session_id = $3 ORDER BY ordinal DESC LIMIT $4
) AS newest ORDER BY ordinal;
