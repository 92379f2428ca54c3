-- name: known_embeddings
-- $3 and $4 are the document's own store and file.
SELECT DISTINCT ON (text_hash) text_hash, embedding::real[] AS embedding FROM (
    SELECT e.text_hash, e.embedding
    FROM chunk_embeddings e JOIN indexes i ON i.id = e.index_id
    WHERE e.text_hash = ANY ($2) AND i.space = $1
    UNION ALL
    SELECT text_hash, embedding FROM early_embeddings
    WHERE store_id = $3 AND file_id = $4 AND space = $1 AND text_hash = ANY ($2)
) AS known

-- name: keep_embeddings
INSERT INTO early_embeddings (store_id, file_id, space, text_hash, embedding)
SELECT $1::text, $2::text, $3::text, text_hash, embedding::halfvec
FROM unnest($4::bytea[], $5::text[]) AS added (text_hash, embedding)
ON CONFLICT DO NOTHING
