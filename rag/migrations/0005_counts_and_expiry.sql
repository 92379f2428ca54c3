-- What a store holds is counted as it changes: a list of stores costs no look at their files.
-- A change is added to a row of its store and status that nobody else holds, or makes another: so
-- no transaction waits for a count, and there are no more rows than were ever changed at once.
-- No foreign key: its lock on the store would wait for a deletion that waits for the writer.
CREATE TABLE store_counts (
    slot        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      text NOT NULL,
    store_id    text NOT NULL,
    status      text NOT NULL,
    files       bigint NOT NULL,
    usage_bytes bigint NOT NULL
);
CREATE INDEX store_counts_by_store ON store_counts (store_id, status);

ALTER TABLE store_files NO FORCE ROW LEVEL SECURITY;
INSERT INTO store_counts (tenant, store_id, status, files, usage_bytes)
SELECT tenant, store_id, status, count(*), sum(usage_bytes) FROM store_files GROUP BY 1, 2, 3;
ALTER TABLE store_files FORCE ROW LEVEL SECURITY;

CREATE FUNCTION change_store_count(
    owner text, store text, state text, more bigint, bytes bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE store_counts SET files = files + more, usage_bytes = usage_bytes + bytes
    WHERE slot = (
        SELECT slot FROM store_counts c WHERE c.store_id = store AND c.status = state
        LIMIT 1 FOR UPDATE SKIP LOCKED
    );
    IF NOT FOUND THEN
        INSERT INTO store_counts (tenant, store_id, status, files, usage_bytes)
        SELECT owner, store, state, more, bytes FROM vector_stores WHERE id = store;
    END IF;
END $$;

CREATE FUNCTION count_store_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM change_store_count(tenant, store_id, status, count(*), sum(usage_bytes)::bigint)
        FROM new_rows GROUP BY tenant, store_id, status;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM change_store_count(tenant, store_id, status, -count(*), -sum(usage_bytes)::bigint)
        FROM old_rows GROUP BY tenant, store_id, status;
    ELSE
        PERFORM change_store_count(tenant, store_id, status, sum(files), sum(bytes)::bigint)
        FROM (
            SELECT tenant, store_id, status, 1 AS files, usage_bytes AS bytes FROM new_rows
            UNION ALL
            SELECT tenant, store_id, status, -1, -usage_bytes FROM old_rows
        ) AS change
        GROUP BY tenant, store_id, status HAVING sum(files) <> 0 OR sum(bytes) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_added AFTER INSERT ON store_files
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_store_files();
CREATE TRIGGER count_removed AFTER DELETE ON store_files
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION count_store_files();
CREATE TRIGGER count_changed AFTER UPDATE ON store_files
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_store_files();

CREATE FUNCTION forget_store_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM store_counts WHERE store_id = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_counts AFTER DELETE ON vector_stores
    FOR EACH ROW EXECUTE FUNCTION forget_store_counts();

-- Lists go by age.
CREATE INDEX store_files_by_age ON store_files (store_id, created_at, file_id);

CREATE FUNCTION store_expires_at(active timestamptz, days integer) RETURNS timestamptz
LANGUAGE sql STABLE AS $$ SELECT active + make_interval(hours => 24 * days) $$;

-- An expired store stays to be seen; what it held is removed once.
ALTER TABLE vector_stores ADD COLUMN emptied boolean NOT NULL DEFAULT false;

-- The job worker sees which files and stores of any tenant have expired, to remove them.
CREATE POLICY expired_files ON files FOR SELECT TO naru_jobs
    USING (expires_at <= clock_timestamp());
CREATE POLICY expired_stores ON vector_stores FOR SELECT TO naru_jobs USING (
    NOT emptied AND store_expires_at(last_active_at, expires_after_days) <= clock_timestamp()
);

ALTER TABLE store_counts ENABLE ROW LEVEL SECURITY;
ALTER TABLE store_counts FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON store_counts USING
    (tenant = (SELECT nullif(current_setting('naru.tenant', true), '')));
GRANT SELECT, INSERT, UPDATE, DELETE ON store_counts TO naru_app;
