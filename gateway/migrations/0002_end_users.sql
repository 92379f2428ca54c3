-- A client that says for whom it acts keeps every end user's sessions apart; '' is nobody.
ALTER TABLE sessions ADD COLUMN end_user text NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN end_user text NOT NULL DEFAULT '';
ALTER TABLE messages DROP CONSTRAINT messages_tenant_client_session_id_fkey;
ALTER TABLE sessions DROP CONSTRAINT sessions_pkey;
ALTER TABLE sessions ADD PRIMARY KEY (tenant, client, end_user, id);
ALTER TABLE messages ADD FOREIGN KEY (tenant, client, end_user, session_id)
    REFERENCES sessions (tenant, client, end_user, id) ON DELETE CASCADE;
DROP INDEX messages_by_session;
CREATE INDEX messages_by_session ON messages (tenant, client, end_user, session_id, ordinal);

-- Without a tenant nothing is seen or written: a setting that was used before reads as ''.
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['agents', 'sessions', 'messages'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON %I USING'
            ' (tenant = (SELECT nullif(current_setting(''naru.tenant'', true), '''')))', name
        );
    END LOOP;
END $$;
