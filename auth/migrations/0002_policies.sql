ALTER TABLE tenants ADD COLUMN disabled_at timestamptz;

ALTER TABLE clients
    ADD COLUMN role text NOT NULL DEFAULT 'editor'
        CHECK (role IN ('viewer', 'editor', 'admin', 'operator')),
    -- How it may authenticate: client_secret_basic, client_secret_post, private_key_jwt.
    ADD COLUMN auth_methods text[] NOT NULL DEFAULT '{client_secret_basic,client_secret_post}',
    -- A JWK Set of public keys, and the algorithms its assertions may use.
    ADD COLUMN jwks jsonb,
    ADD COLUMN assertion_algorithms text[] NOT NULL DEFAULT '{}',
    -- Sender-constrained: gets and uses tokens with a DPoP proof only.
    ADD COLUMN dpop boolean NOT NULL DEFAULT false,
    -- NULL: all of the tenant's.
    ADD COLUMN allowed_agents text[],
    ADD COLUMN allowed_models text[],
    ADD COLUMN allowed_vector_stores text[],
    -- Whether requests may, must or must not name an end user.
    ADD COLUMN end_user text NOT NULL DEFAULT 'optional'
        CHECK (end_user IN ('forbidden', 'optional', 'required')),
    -- local: no prompt of it leaves for a model that is not our own.
    ADD COLUMN residency text NOT NULL DEFAULT 'any' CHECK (residency IN ('any', 'local')),
    -- Tokens carry it. Whatever takes a right away raises it, which ends the tokens before.
    ADD COLUMN generation integer NOT NULL DEFAULT 0;

CREATE TABLE client_secrets (
    id         text PRIMARY KEY,
    client     text NOT NULL REFERENCES clients ON DELETE CASCADE,
    hash       bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz
);
CREATE INDEX client_secrets_by_client ON client_secrets (client);
INSERT INTO client_secrets (id, client, hash, created_at)
SELECT 'secret-' || left(md5(id), 16), id, secret_hash, created_at FROM clients;
ALTER TABLE clients DROP COLUMN secret_hash;

ALTER TABLE api_keys ADD COLUMN name text NOT NULL DEFAULT '';

-- Published from created_at, signs from signs_from until the next one does.
ALTER TABLE signing_keys ADD COLUMN signs_from timestamptz NOT NULL DEFAULT now();

-- What no longer counts although its signature does. Rows live as long as a token could.
CREATE TABLE revocations (
    kind       text NOT NULL CHECK (kind IN ('token', 'client', 'key')),
    -- A token's jti, a client's id, an API key's id.
    subject    text NOT NULL,
    -- Of a client: its tokens of lower generations are revoked.
    generation integer,
    -- Lets a reader find what was committed since it last looked, in whatever order.
    recorded   xid8 NOT NULL DEFAULT pg_current_xact_id(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (kind, subject)
);
CREATE INDEX revocations_by_xid ON revocations (recorded);

-- Assertions and DPoP proofs that have been used: hashes of what makes them unique.
CREATE TABLE used_once (
    hash       bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX used_once_by_expiry ON used_once (expires_at);

REVOKE ALL ON tenants, clients, api_keys, signing_keys FROM naru_app;
GRANT SELECT, INSERT, UPDATE ON tenants, clients, api_keys TO naru_auth;
GRANT SELECT, INSERT, UPDATE, DELETE ON client_secrets, signing_keys, revocations, used_once
TO naru_auth;

-- Before the caller is known no tenant is set, and identity must be readable to find out who it is.
-- Once it is known, what is done for it sees its own tenant alone. Operators act for every tenant.
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON tenants
    USING (id = coalesce(nullif(current_setting('naru.tenant', true), ''), id));
ALTER TABLE clients ENABLE ROW LEVEL SECURITY;
ALTER TABLE clients FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON clients
    USING (tenant = coalesce(nullif(current_setting('naru.tenant', true), ''), tenant));
ALTER TABLE client_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE client_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON client_secrets USING (client IN (SELECT id FROM clients));
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON api_keys USING (client IN (SELECT id FROM clients));
