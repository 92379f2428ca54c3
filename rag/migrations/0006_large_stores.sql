-- A large index has a partition of its own in every leg: vectors in a graph (HNSW), and for each
-- term the chunks that hold it. The graph is asked under the policies as it is; an inverted index
-- (GIN) would not be, since its operators are not leakproof: so postings are rows, found by `=`.

ALTER TABLE indexes
    ADD COLUMN next_shard integer,  -- the partition that is being made for it
    ADD COLUMN last_posted bigint NOT NULL DEFAULT 0,  -- chunks up to it are in the postings
    ADD COLUMN posted bigint NOT NULL DEFAULT 0,  -- how many those were
    ADD COLUMN segments integer NOT NULL DEFAULT 0;

-- Written once for a range of chunks, a segment; what is written later is read from `chunk_terms`
-- until it makes another. Chunks that were deleted stay here and are passed over.
CREATE TABLE chunk_postings (
    tenant  text NOT NULL DEFAULT current_setting('naru.tenant'),
    shard   integer NOT NULL,
    term    integer NOT NULL,
    segment bigint NOT NULL,  -- the id of its first chunk
    chunks  integer[] NOT NULL,  -- how far from that one
    impacts smallint[] NOT NULL,  -- the term's values in them, in thousandths
    PRIMARY KEY (shard, term, segment)
) PARTITION BY LIST (shard);
-- Neighbouring numbers do not compress.
ALTER TABLE chunk_postings
    ALTER COLUMN chunks SET STORAGE EXTERNAL,
    ALTER COLUMN impacts SET STORAGE EXTERNAL;

CREATE FUNCTION term_values(terms sparsevec, OUT term integer, OUT value real)
RETURNS SETOF record LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT split_part(pair, ':', 1)::integer, split_part(pair, ':', 2)::real
    FROM unnest(string_to_array(btrim(split_part(terms::text, '/', 1), '{}'), ',')) AS pair
$$;

ALTER TABLE chunk_postings ENABLE ROW LEVEL SECURITY;
ALTER TABLE chunk_postings FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON chunk_postings USING
    (tenant = (SELECT nullif(current_setting('naru.tenant', true), '')));
GRANT SELECT, INSERT, UPDATE, DELETE ON chunk_postings TO naru_app;

-- How large an index is, is asked with every search.
CREATE INDEX documents_sizes ON documents (index_id) INCLUDE (chunk_count);

-- What follows changes tables, which `naru_jobs` may not. It works for the transaction's tenant:
-- the owner stands under the policies too. Partitions are made beside their table and then
-- attached, so that nobody waits for one to be filled. Where a lock is not to be had at once it
-- is given up, or all who come later would wait behind: lock_not_available asks to try again.
CREATE SEQUENCE shard_numbers AS integer;

CREATE FUNCTION make_shard(of_index bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE number integer := nextval('shard_numbers'); leg text; part text;
BEGIN
    UPDATE indexes SET next_shard = number
    WHERE id = of_index AND shard = 0 AND next_shard IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    FOREACH leg IN ARRAY ARRAY['chunk_terms', 'chunk_embeddings', 'chunk_postings'] LOOP
        part := leg || '_' || number;
        -- Each row that is gone costs a search time until it is vacuumed.
        EXECUTE format(
            'CREATE TABLE %I (LIKE %I INCLUDING ALL, CHECK (shard = %s)) WITH ('
            ' toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05,'
            ' autovacuum_analyze_scale_factor = 0.05)', part, leg, number);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', part);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', part);
        EXECUTE format(
            'CREATE POLICY own_tenant ON %I USING'
            ' (tenant = (SELECT nullif(current_setting(''naru.tenant'', true), '''')))', part);
    END LOOP;
    RETURN number;
END $$;

-- Copies what the partition lacks.
CREATE FUNCTION copy_to_shard(of_index bigint, number integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE leg text; columns text;
BEGIN
    FOREACH leg IN ARRAY ARRAY['chunk_terms', 'chunk_embeddings'] LOOP
        SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute
        WHERE attrelid = leg::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'shard';
        EXECUTE format(
            'INSERT INTO %1$I (shard, %2$s) SELECT %3$s, %2$s FROM %4$I old'
            ' WHERE old.shard = 0 AND old.index_id = $1'
            ' AND NOT EXISTS (SELECT FROM %1$I new WHERE new.chunk_id = old.chunk_id)',
            leg || '_' || number, columns, number, leg) USING of_index;
    END LOOP;
END $$;

-- Makes a segment of the chunks behind `after` up to `upto`; returns how many they are.
CREATE FUNCTION post_chunks(number integer, after bigint, upto bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET work_mem = '128MB' AS $$
DECLARE lowest bigint; amount bigint;
BEGIN
    EXECUTE format(
        'SELECT min(chunk_id), count(*) FROM %I WHERE chunk_id > $1 AND chunk_id <= $2',
        'chunk_terms_' || number) INTO lowest, amount USING after, upto;
    EXECUTE format(
        'INSERT INTO %I (shard, term, segment, chunks, impacts)'
        ' SELECT %s, v.term, $3, array_agg((t.chunk_id - $3)::integer),'
        ' array_agg((v.value * 1000)::smallint)'
        ' FROM %I t, term_values(t.terms) AS v'
        ' WHERE t.chunk_id > $1 AND t.chunk_id <= $2 GROUP BY v.term',
        'chunk_postings_' || number, number, 'chunk_terms_' || number)
    USING after, upto, lowest;
    RETURN amount;
END $$;

-- A graph holds vectors of one length, of at most 4,000 numbers: that which most of them have.
CREATE FUNCTION build_graph(number integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET maintenance_work_mem = '512MB' SET max_parallel_maintenance_workers = 0 AS $$
DECLARE part text := 'chunk_embeddings_' || number; numbers integer;
BEGIN
    EXECUTE format(
        'SELECT vector_dims(embedding) FROM %I GROUP BY 1 ORDER BY count(*) DESC LIMIT 1', part)
    INTO numbers;
    IF numbers <= 4000 THEN
        EXECUTE format(
            'CREATE INDEX IF NOT EXISTS %I ON %I'
            ' USING hnsw ((embedding::halfvec(%3$s)) halfvec_cosine_ops)'
            ' WITH (m = 16, ef_construction = 200) WHERE vector_dims(embedding) = %3$s',
            part || '_graph', part, numbers);
    END IF;
    EXECUTE format('ANALYZE %I', part);
    EXECUTE format('ANALYZE %I', 'chunk_terms_' || number);
    EXECUTE format('ANALYZE %I', 'chunk_postings_' || number);
END $$;

-- From here on deleting a document reaches its copied rows.
CREATE FUNCTION tie_shard(number integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE part text;
BEGIN
    FOREACH part IN ARRAY ARRAY['chunk_terms_' || number, 'chunk_embeddings_' || number] LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_constraint WHERE conrelid = part::regclass AND contype = 'f');
        EXECUTE format(
            'ALTER TABLE %I ADD CONSTRAINT %I FOREIGN KEY (document) REFERENCES documents'
            ' ON DELETE CASCADE NOT VALID', part, part || '_document_fkey');
    END LOOP;
END $$;

-- What was deleted before is removed, so that attaching has nothing left to check.
CREATE FUNCTION validate_shard(number integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE part text;
BEGIN
    FOREACH part IN ARRAY ARRAY['chunk_terms_' || number, 'chunk_embeddings_' || number] LOOP
        EXECUTE format(
            'DELETE FROM %I part WHERE NOT EXISTS ('
            ' SELECT FROM documents d WHERE d.id = part.document)', part);
        EXECUTE format(
            'ALTER TABLE %I VALIDATE CONSTRAINT %I', part, part || '_document_fkey');
    END LOOP;
END $$;

CREATE FUNCTION attach_shard(number integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE leg text; part text;
BEGIN
    FOREACH leg IN ARRAY ARRAY['chunk_terms', 'chunk_embeddings', 'chunk_postings'] LOOP
        part := leg || '_' || number;
        CONTINUE WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = part::regclass);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES IN (%s)', leg, part, number);
    END LOOP;
END $$;

-- Does nothing while an index has the partition.
CREATE FUNCTION drop_shard(number integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE leg text;
BEGIN
    IF number = 0 OR EXISTS (
        SELECT FROM indexes WHERE shard = number OR next_shard = number
    ) THEN
        RETURN;
    END IF;
    FOREACH leg IN ARRAY ARRAY['chunk_terms', 'chunk_embeddings', 'chunk_postings'] LOOP
        EXECUTE format('DROP TABLE IF EXISTS %I', leg || '_' || number);
    END LOOP;
END $$;

-- Whoever writes documents: some seconds later a job looks whether the index has become large.
CREATE FUNCTION grow_index() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM enqueue_job(
        'grow_index', jsonb_build_object('index', NEW.index_id), 1, 'grow_index:' || NEW.index_id,
        interval '5 seconds');
    RETURN NULL;
END $$;
CREATE TRIGGER documents_grow_indexes AFTER INSERT ON documents
FOR EACH ROW EXECUTE FUNCTION grow_index();

-- An index that goes, however that comes, has its partitions dropped by a job.
CREATE FUNCTION leave_shard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE number integer;
BEGIN
    FOREACH number IN ARRAY ARRAY[OLD.shard, OLD.next_shard] LOOP
        CONTINUE WHEN number IS NULL OR number = 0;
        PERFORM enqueue_job(
            'drop_shard', jsonb_build_object('shard', number), 1, 'drop_shard:' || number,
            interval '0');
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER indexes_leave_shards AFTER DELETE ON indexes
FOR EACH ROW WHEN (OLD.shard <> 0 OR OLD.next_shard IS NOT NULL) EXECUTE FUNCTION leave_shard();

REVOKE ALL ON FUNCTION
    make_shard, copy_to_shard, post_chunks, build_graph, tie_shard, validate_shard, attach_shard,
    drop_shard
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    make_shard, copy_to_shard, post_chunks, build_graph, tie_shard, validate_shard, attach_shard,
    drop_shard
TO naru_jobs;
