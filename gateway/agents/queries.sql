-- name: save_agent
INSERT INTO agents (tenant, name, definition) VALUES ($1, $2, $3::text::jsonb)
ON CONFLICT (tenant, name) DO UPDATE SET definition = excluded.definition, updated_at = now();

-- name: find_agent
SELECT definition::text, extract(epoch FROM created_at)::bigint AS created FROM agents
WHERE tenant = $1 AND name = $2;

-- name: list_agents
SELECT definition::text, extract(epoch FROM created_at)::bigint AS created FROM agents
WHERE tenant = $1 ORDER BY name;
