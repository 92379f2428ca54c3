-- One record per request. No foreign keys: what was used stays told when its client is gone, and
-- a batch of many tenants must not fail for one. `cost` is in US nano-dollars. The primary key is
-- the only large index: it finds a tenant's span of time, pages through it, and tells doubles.
CREATE TABLE usage_records (
    id                uuid NOT NULL,
    tenant            text NOT NULL,
    at                timestamptz NOT NULL,
    request_id        text NOT NULL,
    client            text NOT NULL,
    key               text,
    end_user          text NOT NULL,
    kind              text NOT NULL,
    model             text NOT NULL,
    agent_version     integer,
    target            text NOT NULL,
    stream            boolean NOT NULL,
    prompt_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cached_tokens     bigint NOT NULL,
    estimated         boolean NOT NULL,
    cost              bigint,
    first_token_ms    real,
    duration_ms       real,
    ending            text NOT NULL,
    fallback          text,
    attempts          jsonb NOT NULL,
    verdicts          jsonb NOT NULL,
    expires_at        timestamptz,
    PRIMARY KEY (tenant, at, id)
);
-- Records come in the order of time, nearly.
CREATE INDEX usage_records_by_expiry ON usage_records USING brin (expires_at);

-- The sums of UTC days whose records were deleted. `priced` are the requests whose cost is known.
CREATE TABLE usage_days (
    tenant            text NOT NULL,
    day               date NOT NULL,
    client            text NOT NULL,
    kind              text NOT NULL,
    model             text NOT NULL,
    agent_version     integer NOT NULL,
    target            text NOT NULL,
    end_user          text NOT NULL,
    ending            text NOT NULL,
    requests          bigint NOT NULL,
    estimated         bigint NOT NULL,
    priced            bigint NOT NULL,
    prompt_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cached_tokens     bigint NOT NULL,
    cost              bigint NOT NULL,
    duration_ms       double precision NOT NULL,
    PRIMARY KEY (tenant, day, client, kind, model, agent_version, target, end_user, ending)
);

DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['usage_records', 'usage_days'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON %I USING'
            ' (tenant = (SELECT nullif(current_setting(''naru.tenant'', true), '''')))', name
        );
    END LOOP;
    CREATE POLICY expired ON usage_records FOR SELECT TO naru_jobs USING (expires_at < now());
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON usage_records, usage_days TO naru_app;
