-- A place outside that a store is kept in step with. `origin` names what the operator's settings
-- open (`sync.folders`, `sync.buckets`, `sync.hosts`): credentials are there alone.
CREATE TABLE sources (
    id               text PRIMARY KEY,
    tenant           text NOT NULL DEFAULT current_setting('naru.tenant'),
    store_id         text NOT NULL REFERENCES vector_stores ON DELETE CASCADE,
    client           text NOT NULL,  -- in whose name its documents are uploaded
    kind             text NOT NULL CHECK (kind IN ('folder', 'bucket', 'urls')),
    origin           jsonb NOT NULL,
    schedule         text CHECK (schedule IN ('hourly', 'daily', 'weekly')),
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at           timestamptz,  -- it stays until that run is over: a crash makes it due again
    mounts           text[] NOT NULL DEFAULT '{}',  -- subfolders on volumes of their own
    last_complete_at timestamptz,
    -- The last run. What an earlier one still writes under its own number is not taken.
    run              integer NOT NULL DEFAULT 0,
    status           text CHECK (status IN ('in_progress', 'completed', 'failed')),
    complete         boolean NOT NULL DEFAULT false,
    reason           text,
    started_at       timestamptz,
    finished_at      timestamptz,
    listed           integer NOT NULL DEFAULT 0,
    added            integer NOT NULL DEFAULT 0,
    changed          integer NOT NULL DEFAULT 0,
    removed          integer NOT NULL DEFAULT 0,
    unchanged        integer NOT NULL DEFAULT 0,
    failed           integer NOT NULL DEFAULT 0,
    skipped          integer NOT NULL DEFAULT 0
);
CREATE INDEX sources_by_store ON sources (store_id, created_at, id);
CREATE INDEX sources_due ON sources (due_at) WHERE due_at IS NOT NULL;

-- A document of a source. `next_file_id` is a newer version that is being read: it takes the place
-- of `file_id` in the transaction that makes it searchable.
CREATE TABLE source_items (
    source_id    text NOT NULL REFERENCES sources ON DELETE CASCADE,
    key          text NOT NULL,
    tenant       text NOT NULL DEFAULT current_setting('naru.tenant'),
    fingerprint  text NOT NULL DEFAULT '',  -- '' is like no other
    file_id      text REFERENCES files ON DELETE SET NULL,
    sha256       bytea,
    next_file_id text REFERENCES files ON DELETE SET NULL,
    next_sha256  bytea,
    failure      text,
    PRIMARY KEY (source_id, key)
);
CREATE INDEX source_items_by_file ON source_items (file_id);
CREATE INDEX source_items_by_next_file ON source_items (next_file_id)
    WHERE next_file_id IS NOT NULL;
CREATE INDEX source_items_failed ON source_items (source_id, key) WHERE failure IS NOT NULL;

CREATE FUNCTION schedule_interval(schedule text) RETURNS interval LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE schedule WHEN 'hourly' THEN interval '1 hour' WHEN 'daily' THEN interval '1 day'
                         WHEN 'weekly' THEN interval '7 days' END
$$;

DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['sources', 'source_items'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON %I USING'
            ' (tenant = (SELECT nullif(current_setting(''naru.tenant'', true), '''')))', name
        );
    END LOOP;
END $$;

-- The job worker sees which sources of any tenant are due.
CREATE POLICY due_sources ON sources FOR SELECT TO naru_jobs USING (due_at <= clock_timestamp());

GRANT SELECT, INSERT, UPDATE, DELETE ON sources, source_items TO naru_app;
