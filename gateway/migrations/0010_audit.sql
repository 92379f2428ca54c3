-- What was done, one chain of records for each tenant; `@system` is nobody's. Each hash is keyed and
-- covers the hash before it, so that no row can be changed, moved or left out unseen.
CREATE TABLE audit_log (
    tenant text NOT NULL,
    seq    bigint NOT NULL,
    -- json keeps the text that was hashed as it is.
    record json NOT NULL,
    hash   bytea NOT NULL,
    at_ms  bigint NOT NULL GENERATED ALWAYS AS ((record ->> 'at')::bigint) STORED,
    action text NOT NULL GENERATED ALWAYS AS (record ->> 'action') STORED,
    PRIMARY KEY (tenant, seq)
);
CREATE INDEX audit_log_by_time ON audit_log (tenant, at_ms);

CREATE TABLE audit_heads (
    tenant text PRIMARY KEY,
    seq    bigint NOT NULL DEFAULT 0,
    hash   bytea NOT NULL DEFAULT ''
);

CREATE FUNCTION keep_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'DELETE' AND current_setting('naru.pruning', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION keep_audit_log();
CREATE TRIGGER append_only_too BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION keep_audit_log();

-- The one way to delete: from the oldest on, never the newest record.
CREATE FUNCTION prune_audit_log(through bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$ DECLARE pruned bigint; BEGIN
    PERFORM set_config('naru.pruning', 'on', true);
    DELETE FROM audit_log WHERE tenant = current_setting('naru.tenant') AND seq <= through
        AND seq < (SELECT h.seq FROM audit_heads h WHERE h.tenant = current_setting('naru.tenant'));
    GET DIAGNOSTICS pruned = ROW_COUNT;
    PERFORM set_config('naru.pruning', '', true);
    RETURN pruned;
END $$;
REVOKE EXECUTE ON FUNCTION prune_audit_log FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_audit_log TO naru_app;

DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['audit_log', 'audit_heads'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON %I USING'
            ' (tenant = (SELECT nullif(current_setting(''naru.tenant'', true), '''')))', name
        );
    END LOOP;
    -- Which chains there are, for who prunes and verifies them.
    CREATE POLICY every_chain ON audit_heads FOR SELECT TO naru_jobs USING (true);
END $$;
GRANT SELECT, INSERT ON audit_log TO naru_app;
GRANT SELECT, INSERT, UPDATE ON audit_heads TO naru_app;
