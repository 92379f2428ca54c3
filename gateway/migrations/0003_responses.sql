-- A session is a conversation too, and a message is one kind of its items. `item` is the item as it
-- goes over the wire; NULL for a text that the other columns say already. Not jsonb: that refuses
-- an escaped NUL, which models do write into a function's arguments.
ALTER TABLE sessions
    ADD COLUMN metadata   jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN expires_at timestamptz;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
ALTER TABLE messages
    DROP CONSTRAINT messages_role_check,
    ALTER COLUMN role DROP NOT NULL,
    ALTER COLUMN agent SET DEFAULT '',
    ADD COLUMN item json,
    ADD CHECK (role IN ('user', 'assistant', 'system', 'developer')),
    ADD CHECK (role IS NOT NULL OR item IS NOT NULL);

CREATE TABLE responses (
    id         text PRIMARY KEY,
    tenant     text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    client     text NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    end_user   text NOT NULL DEFAULT '',
    previous   text,
    status     text NOT NULL CHECK (status IN
        ('queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled')),
    -- As GET answers it, and the items that went in.
    body       json NOT NULL,
    input      json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX responses_by_expiry ON responses (expires_at);

-- Events of a stream for who comes back to it, several to a row; `last` is the last one's number.
CREATE TABLE response_events (
    tenant     text NOT NULL DEFAULT current_setting('naru.tenant'),
    response   text NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
    last       integer NOT NULL,
    events     json NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (response, last)
);
CREATE INDEX response_events_by_expiry ON response_events (expires_at);

-- Responses that wait for a process, or are worked on by one that says so before `lease` is over.
CREATE TABLE response_jobs (
    tenant   text NOT NULL DEFAULT current_setting('naru.tenant'),
    response text PRIMARY KEY REFERENCES responses (id) ON DELETE CASCADE,
    attempts integer NOT NULL DEFAULT 0,
    lease    timestamptz,
    queued   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX response_jobs_by_age ON response_jobs (queued);

-- What was asked, until it is answered: apart, for only its own tenant sees it.
CREATE TABLE response_requests (
    tenant   text NOT NULL DEFAULT current_setting('naru.tenant'),
    response text PRIMARY KEY REFERENCES response_jobs (response) ON DELETE CASCADE,
    caller   json NOT NULL,
    request  json NOT NULL
);

DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY[
        'responses', 'response_events', 'response_jobs', 'response_requests'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON %I USING'
            ' (tenant = (SELECT nullif(current_setting(''naru.tenant'', true), '''')))', name
        );
    END LOOP;
    -- The looks across tenants: which responses wait, and what is over.
    CREATE POLICY waiting ON response_jobs FOR SELECT TO naru_jobs USING (true);
    FOREACH name IN ARRAY ARRAY['responses', 'response_events', 'sessions'] LOOP
        EXECUTE format(
            'CREATE POLICY expired ON %I TO naru_jobs USING (expires_at < now())'
            ' WITH CHECK (false)', name
        );
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON responses, response_events, response_jobs, response_requests TO naru_app;
