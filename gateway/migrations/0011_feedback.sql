-- What a user thought of an answer; it goes with its message. The agent's version is told by the
-- message's trace, and kept here so that it counts after the trace is gone.
CREATE TABLE feedback (
    message_id    text PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    tenant        text NOT NULL,
    client        text NOT NULL,
    end_user      text NOT NULL,
    agent         text NOT NULL,
    agent_version integer,
    up            boolean NOT NULL,
    comment       text,
    corrected     text,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX feedback_by_agent ON feedback (tenant, agent, agent_version);
CREATE INDEX feedback_by_age ON feedback (tenant, created_at, message_id);

ALTER TABLE feedback ENABLE ROW LEVEL SECURITY;
ALTER TABLE feedback FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON feedback
    USING (tenant = (SELECT nullif(current_setting('naru.tenant', true), '')));
GRANT SELECT, INSERT, UPDATE, DELETE ON feedback TO naru_app;
