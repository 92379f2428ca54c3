-- name: index
SELECT store_id, shard, next_shard, last_posted, posted, segments, chunks
FROM indexes WHERE id = $1

-- name: tail
-- What came after the last chunk that has postings, $3, into the partition $2.
SELECT count(*) AS chunks, coalesce(max(chunk_id), $3) AS last
FROM chunk_terms WHERE shard = $2 AND index_id = $1 AND chunk_id > $3

-- name: make_shard
SELECT make_shard($1)

-- name: copy_to_shard
SELECT copy_to_shard($1, $2)

-- name: post_chunks
SELECT post_chunks($1, $2, $3)

-- name: build_graph
SELECT build_graph($1)

-- name: tie_shard
SELECT tie_shard($1)

-- name: validate_shard
SELECT validate_shard($1)

-- name: attach_shard
SELECT attach_shard($1)

-- name: drop_shard
SELECT drop_shard($1)

-- name: forget_postings
DELETE FROM chunk_postings WHERE shard = $1

-- name: set_segments
UPDATE indexes SET last_posted = $2, posted = $3, segments = $4 WHERE id = $1

-- name: switch
UPDATE indexes SET shard = $2, next_shard = NULL WHERE id = $1 AND next_shard = $2

-- name: leave_terms
DELETE FROM chunk_terms WHERE shard = 0 AND index_id = $1

-- name: leave_embeddings
DELETE FROM chunk_embeddings WHERE shard = 0 AND index_id = $1
