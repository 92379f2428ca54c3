-- What callers of a tenant may take. NULL: not limited.
CREATE TABLE limits (
    id                  text PRIMARY KEY,
    tenant              text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    per                 text NOT NULL
        CHECK (per IN ('tenant', 'client', 'key', 'end_user', 'model')),
    -- '': everyone of the kind who has no rule.
    subject             text NOT NULL DEFAULT '',
    requests_per_minute bigint CHECK (requests_per_minute > 0),
    tokens_per_minute   bigint CHECK (tokens_per_minute > 0),
    tokens_per_day      bigint CHECK (tokens_per_day > 0),
    concurrent_requests bigint CHECK (concurrent_requests > 0),
    concurrent_streams  bigint CHECK (concurrent_streams > 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, per, subject)
);
CREATE INDEX limits_by_age ON limits (tenant, created_at, id);

ALTER TABLE limits ENABLE ROW LEVEL SECURITY;
ALTER TABLE limits FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON limits
    USING (tenant = (SELECT nullif(current_setting('naru.tenant', true), '')));
-- Every process knows every tenant's.
CREATE POLICY every ON limits FOR SELECT TO naru_jobs USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON limits TO naru_app;
