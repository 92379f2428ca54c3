-- How large an index is, is asked with every search: it is counted as documents change, not summed.
ALTER TABLE indexes ADD COLUMN chunks bigint NOT NULL DEFAULT 0;

ALTER TABLE documents NO FORCE ROW LEVEL SECURITY;
ALTER TABLE indexes NO FORCE ROW LEVEL SECURITY;
UPDATE indexes i SET chunks = d.chunks
FROM (SELECT index_id, sum(chunk_count) AS chunks FROM documents GROUP BY index_id) AS d
WHERE d.index_id = i.id;
ALTER TABLE documents FORCE ROW LEVEL SECURITY;
ALTER TABLE indexes FORCE ROW LEVEL SECURITY;

-- Who changes documents holds the lock on their index; but for those of a retired one, which go
-- without it, so that nobody waits.
CREATE FUNCTION count_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE indexes i
    SET chunks = i.chunks + CASE TG_OP WHEN 'INSERT' THEN c.chunks ELSE -c.chunks END
    FROM (SELECT index_id, sum(chunk_count) AS chunks FROM changed GROUP BY index_id) AS c
    WHERE i.id = c.index_id AND i.retired_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER count_added AFTER INSERT ON documents
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_chunks();
CREATE TRIGGER count_removed AFTER DELETE ON documents
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_chunks();

DROP INDEX documents_sizes;
