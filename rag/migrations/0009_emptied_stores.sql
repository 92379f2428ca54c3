-- An expired store stays to be seen; what it held is removed once.
ALTER TABLE vector_stores ADD COLUMN emptied boolean NOT NULL DEFAULT false;
DROP POLICY expired_stores ON vector_stores;
CREATE POLICY expired_stores ON vector_stores FOR SELECT TO naru_jobs USING (
    NOT emptied AND store_expires_at(last_active_at, expires_after_days) <= clock_timestamp()
);
