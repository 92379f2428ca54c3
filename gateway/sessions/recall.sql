-- $1 to $4 are the owner's tenant, client and end user, and the session.

-- name: summary
SELECT summary, summarized FROM sessions
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4;

-- name: said
-- Messages behind the ordinal $5 and before $6, the newest $7.
SELECT ordinal, role, content, citations::text FROM (
    SELECT ordinal, role, content, citations FROM messages
    WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
      AND role IN ('user', 'assistant') AND content <> ''
      AND ordinal > $5 AND ($6::bigint IS NULL OR ordinal < $6)
    ORDER BY ordinal DESC LIMIT $7
) AS newest ORDER BY ordinal;

-- name: asked
-- The question that the message $5 answers.
SELECT q.ordinal, q.content AS question, a.content AS answer, a.citations::text, a.agent, a.model,
       floor(extract(epoch FROM a.created_at))::bigint AS created_at
FROM messages q JOIN messages a USING (tenant, client, end_user)
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND q.session_id = $4 AND a.session_id = $4
  AND a.id = $5 AND a.role = 'assistant' AND q.role = 'user' AND q.ordinal < a.ordinal
ORDER BY q.ordinal DESC LIMIT 1;

-- name: keep_summary
UPDATE sessions SET summary = $5, summarized = $6
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4 AND summarized < $6;
