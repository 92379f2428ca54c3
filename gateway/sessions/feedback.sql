-- name: agent
SELECT agent FROM messages
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4
  AND role = 'assistant' AND agent <> '';

-- name: give
INSERT INTO feedback
    (message_id, tenant, client, end_user, agent, agent_version, up, comment, corrected)
SELECT m.id, m.tenant, m.client, m.end_user, m.agent, (t.trace ->> 'agent_version')::integer,
       $5, $6, $7
FROM messages m LEFT JOIN message_traces t ON t.message_id = m.id
WHERE m.tenant = $1 AND m.client = $2 AND m.end_user = $3 AND m.id = $4
  AND m.role = 'assistant' AND m.agent <> ''
ON CONFLICT (message_id) DO UPDATE
SET up = excluded.up, comment = excluded.comment, corrected = excluded.corrected,
    created_at = now()
RETURNING message_id, agent, agent_version, up, comment, corrected,
          floor(extract(epoch FROM created_at))::bigint AS created_at;

-- name: take_back
DELETE FROM feedback WHERE tenant = $1 AND client = $2 AND end_user = $3 AND message_id = $4
RETURNING message_id;

-- name: page
SELECT f.message_id, f.agent, f.agent_version, f.up, f.comment, f.corrected,
       floor(extract(epoch FROM f.created_at))::bigint AS created_at,
       m.content AS answer, m.citations::text AS citations, m.model,
       coalesce((SELECT q.content FROM messages q
                 WHERE (q.tenant, q.client, q.end_user, q.session_id)
                       = (m.tenant, m.client, m.end_user, m.session_id)
                   AND q.role = 'user' AND q.ordinal < m.ordinal
                 ORDER BY q.ordinal DESC LIMIT 1), '') AS question
FROM feedback f JOIN messages m ON m.id = f.message_id
WHERE f.tenant = $1 AND ($2::text IS NULL OR f.agent = $2)
  AND ($3::text IS NULL OR (f.created_at, f.message_id) >
       (SELECT created_at, message_id FROM feedback WHERE message_id = $3))
ORDER BY f.created_at, f.message_id LIMIT $4;

-- name: tally
SELECT agent_version AS version, count(*) FILTER (WHERE up) AS up,
       count(*) FILTER (WHERE NOT up) AS down
FROM feedback WHERE tenant = $1 AND agent = $2
GROUP BY agent_version ORDER BY agent_version;
