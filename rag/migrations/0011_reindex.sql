-- One index of a store is searched. Another may be built beside it, or have failed with `failure`.
-- One that was replaced, or is wanted no more, stays for the searches that began before.
ALTER TABLE indexes ADD COLUMN retired_at timestamptz;
ALTER TABLE indexes ADD COLUMN state text NOT NULL GENERATED ALWAYS AS (
    CASE WHEN live THEN 'live' WHEN retired_at IS NOT NULL THEN 'retired'
         WHEN failure IS NOT NULL THEN 'failed' ELSE 'building' END
) STORED;
DROP INDEX indexes_built;
CREATE UNIQUE INDEX indexes_built ON indexes (store_id) WHERE state IN ('building', 'failed');
CREATE INDEX indexes_retired ON indexes (retired_at) WHERE state = 'retired';

-- The job worker sees which indexes of any tenant are to be built or removed.
CREATE POLICY unsearched_indexes ON indexes FOR SELECT TO naru_jobs
    USING (state IN ('building', 'retired'));
