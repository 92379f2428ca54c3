CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE files (
    id         text PRIMARY KEY,
    tenant     text NOT NULL,
    filename   text NOT NULL,
    purpose    text NOT NULL,
    bytes      bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX files_by_tenant ON files (tenant, created_at, id);

CREATE TABLE file_parts (
    file_id text NOT NULL REFERENCES files ON DELETE CASCADE,
    part    integer NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (file_id, part)
);
-- Most uploads are compressed already: trying again costs time and wins nothing.
ALTER TABLE file_parts ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE vector_stores (
    id         text PRIMARY KEY,
    tenant     text NOT NULL,
    name       text NOT NULL,
    metadata   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX vector_stores_by_tenant ON vector_stores (tenant, created_at, id);

-- A file in a store. While it is in progress the row is the job to read it.
CREATE TABLE store_files (
    store_id      text NOT NULL REFERENCES vector_stores ON DELETE CASCADE,
    file_id       text NOT NULL REFERENCES files ON DELETE CASCADE,
    status        text NOT NULL DEFAULT 'in_progress'
                  CHECK (status IN ('in_progress', 'completed', 'failed', 'cancelled')),
    error_code    text,
    error_message text,
    attempts      integer NOT NULL DEFAULT 0,
    chunk_count   integer NOT NULL DEFAULT 0,
    usage_bytes   bigint NOT NULL DEFAULT 0,
    vector_space  text,  -- rag.embed.Embedder.space of its embeddings
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (store_id, file_id)
);
CREATE INDEX store_files_by_file ON store_files (file_id);
CREATE INDEX store_files_to_read ON store_files (attempts, created_at) WHERE status = 'in_progress';

CREATE TABLE chunks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    store_id    text NOT NULL,
    file_id     text NOT NULL,
    ordinal     integer NOT NULL,
    page        integer,
    start_char  integer NOT NULL,
    end_char    integer NOT NULL,
    heading     text NOT NULL,
    content     text NOT NULL,
    UNIQUE (store_id, file_id, ordinal),
    FOREIGN KEY (store_id, file_id) REFERENCES store_files ON DELETE CASCADE
);

-- Each leg scans rows that hold nothing else, kept in the main table: toasted rows would be
-- fetched one by one.
CREATE TABLE chunk_terms (
    chunk_id bigint PRIMARY KEY REFERENCES chunks ON DELETE CASCADE,
    store_id text NOT NULL,
    terms    sparsevec NOT NULL
) WITH (toast_tuple_target = 8160);
ALTER TABLE chunk_terms ALTER COLUMN terms SET STORAGE EXTERNAL;
CREATE INDEX chunk_terms_by_store ON chunk_terms (store_id);

CREATE TABLE chunk_embeddings (
    chunk_id  bigint PRIMARY KEY REFERENCES chunks ON DELETE CASCADE,
    store_id  text NOT NULL,
    embedding halfvec NOT NULL
) WITH (toast_tuple_target = 8160);
ALTER TABLE chunk_embeddings ALTER COLUMN embedding SET STORAGE EXTERNAL;
CREATE INDEX chunk_embeddings_by_store ON chunk_embeddings (store_id);

-- In how many chunks of a store each term occurs: BM25's document frequencies.
CREATE TABLE lexicon (
    store_id text NOT NULL REFERENCES vector_stores ON DELETE CASCADE,
    term     integer NOT NULL,
    df       integer NOT NULL,
    PRIMARY KEY (store_id, term)
);

CREATE FUNCTION term_ids(terms sparsevec) RETURNS SETOF integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT split_part(pair, ':', 1)::integer
    FROM unnest(string_to_array(btrim(split_part(terms::text, '/', 1), '{}'), ',')) AS pair
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON
    files, file_parts, vector_stores, store_files, chunks, chunk_terms, chunk_embeddings, lexicon
TO naru_app;
