-- What an agent is, is told by its versions; `agents.current` is what its plain name means.
-- Policies bind the owner too: rows move while those of `agents` are not forced.
ALTER TABLE agents NO FORCE ROW LEVEL SECURITY;
ALTER TABLE agents
    ADD COLUMN current   integer NOT NULL DEFAULT 1,
    ADD COLUMN source    text NOT NULL DEFAULT 'api' CHECK (source IN ('api', 'file')),
    -- Its file is gone: it is not there until the file comes back, with its versions.
    ADD COLUMN withdrawn boolean NOT NULL DEFAULT false;

-- Not jsonb: variables keep their order.
CREATE TABLE agent_versions (
    tenant     text NOT NULL,
    agent      text NOT NULL,
    number     integer NOT NULL,
    definition json NOT NULL,
    source     text NOT NULL CHECK (source IN ('api', 'file')),
    created_by text NOT NULL,  -- the client; '' for a file
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, agent, number),
    FOREIGN KEY (tenant, agent) REFERENCES agents (tenant, name) ON DELETE CASCADE
);
INSERT INTO agent_versions (tenant, agent, number, definition, source, created_by, created_at)
    SELECT tenant, name, 1, definition::text::json, 'api', '', created_at FROM agents;

-- The last number given: it outlives its agent, so that one version never means two definitions.
CREATE TABLE agent_numbers (
    tenant text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent  text NOT NULL,
    last   integer NOT NULL,
    PRIMARY KEY (tenant, agent)
);
INSERT INTO agent_numbers (tenant, agent, last) SELECT tenant, name, 1 FROM agents;
ALTER TABLE agents DROP COLUMN definition, ALTER COLUMN current DROP DEFAULT;

-- `targets` are versions with their weights; `before`, where it pointed until the last change.
CREATE TABLE agent_aliases (
    tenant     text NOT NULL,
    agent      text NOT NULL,
    name       text NOT NULL,
    targets    jsonb NOT NULL,
    before     jsonb,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, agent, name),
    FOREIGN KEY (tenant, agent) REFERENCES agents (tenant, name) ON DELETE CASCADE
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a version of an agent never changes' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER versions_never_change BEFORE UPDATE ON agent_versions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

ALTER TABLE agents FORCE ROW LEVEL SECURITY;
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['agent_versions', 'agent_numbers', 'agent_aliases'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON %I USING'
            ' (tenant = (SELECT nullif(current_setting(''naru.tenant'', true), '''')))', name
        );
    END LOOP;
END $$;
-- The job worker looks across tenants for agents whose files may be gone.
CREATE POLICY from_files ON agents FOR SELECT TO naru_jobs USING (source = 'file');

-- No UPDATE and no DELETE of a version: it goes with its agent alone.
GRANT SELECT, INSERT ON agent_versions TO naru_app;
GRANT SELECT, INSERT, UPDATE ON agent_numbers TO naru_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON agent_aliases TO naru_app;
