-- How an answer came about, beside it: it goes with its message.
CREATE TABLE message_traces (
    message_id text PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    tenant     text NOT NULL DEFAULT current_setting('naru.tenant'),
    trace      json NOT NULL
);

-- What of a session no longer fits into a prompt, in a model's words: of its messages up to the
-- ordinal `summarized`.
ALTER TABLE sessions
    ADD COLUMN summary    text NOT NULL DEFAULT '',
    ADD COLUMN summarized bigint NOT NULL DEFAULT 0;

ALTER TABLE message_traces ENABLE ROW LEVEL SECURITY;
ALTER TABLE message_traces FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON message_traces
    USING (tenant = (SELECT nullif(current_setting('naru.tenant', true), '')));

GRANT SELECT, INSERT, UPDATE, DELETE ON message_traces TO naru_app;
