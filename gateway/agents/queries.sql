-- $2 holds the agents the caller is limited to where it is asked; NULL stands for no limit.

-- name: find_agent
SELECT v.definition::text, v.number AS version, a.source, v.created_by,
    floor(extract(epoch FROM a.created_at))::bigint AS created,
    floor(extract(epoch FROM v.created_at))::bigint AS version_created
FROM agents a JOIN agent_versions v ON v.tenant = a.tenant AND v.agent = a.name
WHERE a.tenant = $1 AND ($2::text[] IS NULL OR a.name = ANY ($2)) AND a.name = $3
    AND NOT a.withdrawn AND v.number = coalesce($4::integer, a.current);

-- name: list_agents
SELECT v.definition::text, v.number AS version, a.source, v.created_by,
    floor(extract(epoch FROM a.created_at))::bigint AS created,
    floor(extract(epoch FROM v.created_at))::bigint AS version_created
FROM agents a JOIN agent_versions v
    ON v.tenant = a.tenant AND v.agent = a.name AND v.number = a.current
WHERE a.tenant = $1 AND ($2::text[] IS NULL OR a.name = ANY ($2)) AND NOT a.withdrawn
ORDER BY a.name;

-- name: list_versions
SELECT v.definition::text, v.number AS version, v.source, v.created_by,
    floor(extract(epoch FROM a.created_at))::bigint AS created,
    floor(extract(epoch FROM v.created_at))::bigint AS version_created
FROM agents a JOIN agent_versions v ON v.tenant = a.tenant AND v.agent = a.name
WHERE a.tenant = $1 AND ($2::text[] IS NULL OR a.name = ANY ($2)) AND a.name = $3
    AND NOT a.withdrawn AND v.number < $4
ORDER BY v.number DESC LIMIT $5;

-- name: lock_agent
SELECT name, current, source, withdrawn FROM agents
WHERE tenant = $1 AND ($2::text[] IS NULL OR name = ANY ($2)) AND name = $3 FOR UPDATE;

-- name: add_agent
INSERT INTO agents (tenant, name, current, source) VALUES ($1, $2, 0, $3)
ON CONFLICT DO NOTHING RETURNING name;

-- name: add_version
WITH numbered AS (
    INSERT INTO agent_numbers (tenant, agent, last) VALUES ($1, $2, 1)
    ON CONFLICT (tenant, agent) DO UPDATE SET last = agent_numbers.last + 1 RETURNING last
), added AS (
    INSERT INTO agent_versions (tenant, agent, number, definition, source, created_by)
    SELECT $1, $2, last, $3::text::json, $4, $5 FROM numbered
)
UPDATE agents
SET current = (SELECT last FROM numbered), source = $4, withdrawn = false, updated_at = now()
WHERE tenant = $1 AND name = $2;

-- name: take_over
UPDATE agents SET source = $3, withdrawn = false WHERE tenant = $1 AND name = $2;

-- name: point_at
UPDATE agents SET current = $3, updated_at = now() WHERE tenant = $1 AND name = $2;

-- name: version_before
SELECT max(number) FROM agent_versions WHERE tenant = $1 AND agent = $2 AND number < $3;

-- name: delete_agent
DELETE FROM agents WHERE tenant = $1 AND name = $2;

-- name: find_alias
SELECT l.name, l.targets::text, l.before::text,
    floor(extract(epoch FROM l.updated_at))::bigint AS updated
FROM agents a JOIN agent_aliases l ON l.tenant = a.tenant AND l.agent = a.name
WHERE a.tenant = $1 AND ($2::text[] IS NULL OR a.name = ANY ($2)) AND a.name = $3
    AND NOT a.withdrawn AND l.name = $4;

-- name: list_aliases
SELECT l.agent, l.name, l.targets::text, l.before::text,
    floor(extract(epoch FROM l.updated_at))::bigint AS updated
FROM agents a JOIN agent_aliases l ON l.tenant = a.tenant AND l.agent = a.name
WHERE a.tenant = $1 AND ($2::text[] IS NULL OR a.name = ANY ($2))
    AND ($3::text IS NULL OR a.name = $3) AND NOT a.withdrawn
ORDER BY l.agent, l.name;

-- name: put_alias
INSERT INTO agent_aliases (tenant, agent, name, targets) VALUES ($1, $2, $3, $4::text::jsonb)
ON CONFLICT (tenant, agent, name) DO UPDATE
SET targets = excluded.targets, before = agent_aliases.targets, updated_at = now()
WHERE agent_aliases.targets <> excluded.targets;

-- name: delete_alias
DELETE FROM agent_aliases WHERE tenant = $1 AND agent = $2 AND name = $3 RETURNING name;

-- name: agents_of_files
SELECT tenant, name FROM agents WHERE source = 'file' AND NOT withdrawn;

-- name: withdraw_agent
UPDATE agents SET withdrawn = true, updated_at = now()
WHERE tenant = $1 AND name = $2 AND source = 'file' AND NOT withdrawn;

-- name: stores_named
SELECT id FROM vector_stores WHERE tenant = $1 AND name = $2 LIMIT 2;
