-- $2 holds the agents the caller is limited to where it is asked; NULL stands for no limit.

-- name: save_agent
INSERT INTO agents (tenant, name, definition) VALUES ($1, $2, $3::text::jsonb)
ON CONFLICT (tenant, name) DO UPDATE SET definition = excluded.definition, updated_at = now();

-- name: find_agent
SELECT definition::text, extract(epoch FROM created_at)::bigint AS created FROM agents
WHERE tenant = $1 AND ($2::text[] IS NULL OR name = ANY ($2)) AND name = $3;

-- name: list_agents
SELECT definition::text, extract(epoch FROM created_at)::bigint AS created FROM agents
WHERE tenant = $1 AND ($2::text[] IS NULL OR name = ANY ($2)) ORDER BY name;
