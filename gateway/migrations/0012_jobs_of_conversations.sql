-- SHA-256 of whose conversation a response of the background belongs to, and of its id. Those of one
-- are worked on one at a time, in the order they came: who would only wait takes no worker's hand.
ALTER TABLE response_jobs ADD COLUMN conversation bytea;
CREATE INDEX response_jobs_by_conversation ON response_jobs (tenant, conversation, queued)
    WHERE conversation IS NOT NULL;
