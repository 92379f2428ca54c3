CREATE TABLE tenants (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE clients (
    id             text PRIMARY KEY,
    tenant         text NOT NULL REFERENCES tenants,
    name           text NOT NULL,
    secret_hash    bytea NOT NULL,
    scopes         text[] NOT NULL,
    -- What a token request that names no scope receives.
    default_scopes text[] NOT NULL CHECK (default_scopes <@ scopes),
    created_at     timestamptz NOT NULL DEFAULT now(),
    disabled_at    timestamptz
);
CREATE INDEX clients_tenant ON clients (tenant, created_at);

CREATE TABLE api_keys (
    id          text PRIMARY KEY,
    client      text NOT NULL REFERENCES clients,
    hash        bytea NOT NULL UNIQUE,
    -- NULL: whatever its client holds.
    scopes      text[],
    created_at  timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz
);
CREATE INDEX api_keys_client ON api_keys (client);

CREATE TABLE signing_keys (
    kid         text PRIMARY KEY,
    algorithm   text NOT NULL,
    -- Sealed by auth.secrets.SecretBox.
    private_key bytea NOT NULL,
    public_jwk  jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT, INSERT, UPDATE ON tenants, clients, api_keys TO naru_app;
GRANT SELECT, INSERT ON signing_keys TO naru_app;
