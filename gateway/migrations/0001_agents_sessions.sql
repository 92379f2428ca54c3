CREATE TABLE agents (
    tenant     text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name       text NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, name)
);

-- Ids are the caller's own words, so they are unique only within tenant and client.
CREATE TABLE sessions (
    tenant     text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    client     text NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    id         text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, client, id)
);

CREATE TABLE messages (
    id         text PRIMARY KEY,
    tenant     text NOT NULL,
    client     text NOT NULL,
    session_id text NOT NULL,
    ordinal    bigint GENERATED ALWAYS AS IDENTITY,
    role       text NOT NULL CHECK (role IN ('user', 'assistant')),
    content    text NOT NULL,
    -- 'partial' when the answer broke off or the client left.
    status     text NOT NULL CHECK (status IN ('complete', 'partial')),
    agent      text NOT NULL,
    model      text,
    citations  jsonb NOT NULL DEFAULT '[]',
    usage      jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant, client, session_id) REFERENCES sessions (tenant, client, id)
        ON DELETE CASCADE
);
CREATE INDEX messages_by_session ON messages (tenant, client, session_id, ordinal);

GRANT SELECT, INSERT, UPDATE, DELETE ON agents, sessions, messages TO naru_app;
