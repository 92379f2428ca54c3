-- $1 to $4 are the owner's tenant, client and end user, and the session, where there are so many.

-- name: lock
-- Until the transaction ends: whoever begins a turn of that session, or under that key, waits.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0));

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

-- name: finish_unkept
-- A turn enters its session only while it holds it; nobody asks for this one again.
DELETE FROM turns WHERE message = $1 AND state = 'running' AND NOT kept RETURNING message;

-- name: finish
UPDATE turns SET state = $2, answer = $3::text::json, asked = $4, stored_in = session_id,
                 expires_at = now() + $5::interval
WHERE message = $1 AND state = 'running'
RETURNING message;

-- name: find_session
SELECT id, floor(extract(epoch FROM created_at))::bigint AS created_at,
       floor(extract(epoch FROM updated_at))::bigint AS updated_at
FROM sessions
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4
  AND (expires_at IS NULL OR expires_at > now());

-- name: list_sessions
-- Behind the session $4 of before, the last used first.
SELECT id, floor(extract(epoch FROM created_at))::bigint AS created_at,
       floor(extract(epoch FROM updated_at))::bigint AS updated_at
FROM sessions s
WHERE tenant = $1 AND client = $2 AND end_user = $3
  AND (expires_at IS NULL OR expires_at > now())
  AND ($4::text IS NULL OR (s.updated_at, s.id) < (
      SELECT p.updated_at, p.id FROM sessions p
      WHERE p.tenant = $1 AND p.client = $2 AND p.end_user = $3 AND p.id = $4))
ORDER BY s.updated_at DESC, s.id DESC LIMIT $5;

-- name: delete_session
DELETE FROM sessions
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4
  AND (expires_at IS NULL OR expires_at > now())
RETURNING id;

-- name: forget_turns
-- What is being answered, or waits, is not to come back into the session.
DELETE FROM turns
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
  AND state IN ('waiting', 'running');

-- name: find_message
SELECT id, role, content, status, agent, model, citations::text, usage::text,
       floor(extract(epoch FROM created_at))::bigint AS created_at, ordinal
FROM messages WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
  AND id = $5 AND role IN ('user', 'assistant');

-- name: list_messages
SELECT id, role, content, status, agent, model, citations::text, usage::text,
       floor(extract(epoch FROM created_at))::bigint AS created_at
FROM messages WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
  AND role IN ('user', 'assistant') AND ($5::bigint IS NULL OR ordinal > $5)
ORDER BY ordinal LIMIT $6;

-- name: insert_fork
INSERT INTO sessions (tenant, client, end_user, id, metadata, expires_at)
SELECT tenant, client, end_user, $5, metadata, now() + $6::interval FROM sessions
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4
ON CONFLICT DO NOTHING
RETURNING id, floor(extract(epoch FROM created_at))::bigint AS created_at,
          floor(extract(epoch FROM updated_at))::bigint AS updated_at;

-- name: answered
-- Whether a turn of that session waits or runs.
SELECT EXISTS (
    SELECT FROM turns
    WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
      AND state IN ('waiting', 'running') AND lease > now()
);

-- name: items_up_to
SELECT id, item::text FROM messages
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
  AND ($5::bigint IS NULL OR ordinal <= $5)
ORDER BY ordinal;

-- name: copy_message
INSERT INTO messages
    (id, tenant, client, end_user, session_id, role, content, status, agent, model, citations,
     usage, item, created_at)
SELECT $2, tenant, client, end_user, $3, role, content, status, agent, model, citations, usage,
       $4::text::json, created_at
FROM messages WHERE id = $1;
