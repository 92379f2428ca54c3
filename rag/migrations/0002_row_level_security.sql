-- Who uploaded it; '' for files from before this was recorded.
ALTER TABLE files ADD COLUMN client text NOT NULL DEFAULT '';

-- Every row names its tenant, so that every table has the same policy and a search does not have to
-- look up which stores are the tenant's. A row gets it from the transaction that writes it.
DO $$ DECLARE name text; BEGIN
    ALTER TABLE file_parts ADD COLUMN tenant text;
    UPDATE file_parts p SET tenant = f.tenant FROM files f WHERE f.id = p.file_id;
    FOREACH name IN ARRAY ARRAY[
        'store_files', 'chunks', 'chunk_terms', 'chunk_embeddings', 'lexicon'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN tenant text', name);
        EXECUTE format(
            'UPDATE %I t SET tenant = s.tenant FROM vector_stores s WHERE s.id = t.store_id', name
        );
    END LOOP;
    FOREACH name IN ARRAY ARRAY[
        'file_parts', 'store_files', 'chunks', 'chunk_terms', 'chunk_embeddings', 'lexicon'
    ] LOOP
        EXECUTE format(
            'ALTER TABLE %I ALTER COLUMN tenant SET NOT NULL, ALTER COLUMN tenant'
            ' SET DEFAULT current_setting(''naru.tenant'')', name
        );
    END LOOP;
END $$;

-- Without a tenant nothing is seen or written: a setting that was used before reads as ''.
-- In a subquery the setting is read once for a statement, not once for a row.
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY[
        'files', 'file_parts', 'vector_stores', 'store_files',
        'chunks', 'chunk_terms', 'chunk_embeddings', 'lexicon'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON %I USING'
            ' (tenant = (SELECT nullif(current_setting(''naru.tenant'', true), '''')))', name
        );
    END LOOP;
END $$;

-- The one look across tenants: which files wait. What follows is done in the file's tenant.
CREATE POLICY waiting_files ON store_files FOR SELECT TO naru_jobs USING (status = 'in_progress');
