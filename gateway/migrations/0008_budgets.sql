-- What may be spent in a period, in nano-dollars (10^-9 of a US dollar).
CREATE TABLE budgets (
    id         text PRIMARY KEY,
    tenant     text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- Whose spending counts: '' everybody's together, '*' everybody's apart, else this one's.
    client     text NOT NULL DEFAULT '',
    end_user   text NOT NULL DEFAULT '',
    period     text NOT NULL CHECK (period IN ('day', 'month')),
    amount     bigint NOT NULL CHECK (amount >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant, client, end_user, period),
    CHECK (client <> '' OR end_user = '')
);

-- One day or month of one budget; of whom, where the budget is everybody's apart.
CREATE TABLE budget_periods (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant   text NOT NULL DEFAULT current_setting('naru.tenant'),
    budget   text NOT NULL REFERENCES budgets (id) ON DELETE CASCADE,
    client   text NOT NULL,
    end_user text NOT NULL,
    starts   timestamptz NOT NULL,
    ends     timestamptz NOT NULL,
    spent    bigint NOT NULL DEFAULT 0,
    UNIQUE (budget, starts, client, end_user)
);

-- What a process holds of a period: `granted` in all so far, of which `booked` is spent. When the
-- process does not renew it in time, `safe` is free again; what may have been used by then is not.
CREATE TABLE budget_leases (
    id         text PRIMARY KEY,
    tenant     text NOT NULL DEFAULT current_setting('naru.tenant'),
    period     bigint NOT NULL REFERENCES budget_periods (id) ON DELETE CASCADE,
    granted    bigint NOT NULL,
    booked     bigint NOT NULL DEFAULT 0,
    safe       bigint NOT NULL DEFAULT 0,
    -- Number of the last question about it: one that was overtaken on its way changes nothing.
    asked      bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX budget_leases_by_period ON budget_leases (period);

DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['budgets', 'budget_periods', 'budget_leases'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON %I USING'
            ' (tenant = (SELECT nullif(current_setting(''naru.tenant'', true), '''')))', name
        );
    END LOOP;
END $$;
-- Every process knows which budgets there are.
CREATE POLICY known ON budgets FOR SELECT TO naru_jobs USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON budgets, budget_periods, budget_leases TO naru_app;

-- Takes, renews or returns a part of a budget: afterwards the lease holds `want` in all, or less
-- where not so much is left. `slack` of it is for later, and only given while there is plenty.
-- `keeps` of it is surely not used should the process die: of what it does not get, nothing is.
-- Without a period it is the current one, by this clock. No row where the budget is gone.
--
-- One statement after the other on purpose: each sees what was committed while the row was waited
-- for.
CREATE FUNCTION lease_budget(
    of_tenant text, of_budget text, of_client text, of_end_user text, of_period bigint,
    lease text, number bigint, want bigint, slack bigint, keeps bigint, ttl interval,
    OUT period bigint, OUT ends_in_s double precision, OUT granted bigint, OUT unspent bigint
) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    whole budgets;
    part  budget_periods;
    mine  budget_leases;
    day   timestamp;
    others    bigint;
    remaining bigint;
    given     bigint;
BEGIN
    PERFORM set_config('naru.tenant', of_tenant, true);
    SELECT * INTO whole FROM budgets WHERE id = of_budget;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF of_period IS NULL THEN
        day := date_trunc(whole.period, clock_timestamp() AT TIME ZONE 'UTC');
        INSERT INTO budget_periods (budget, client, end_user, starts, ends)
        VALUES (of_budget, of_client, of_end_user, day AT TIME ZONE 'UTC',
                (day + ('1 ' || whole.period)::interval) AT TIME ZONE 'UTC')
        ON CONFLICT DO NOTHING;
        SELECT * INTO part FROM budget_periods
        WHERE budget = of_budget AND starts = day AT TIME ZONE 'UTC'
            AND client = of_client AND end_user = of_end_user
        FOR UPDATE;
    ELSE
        SELECT * INTO part FROM budget_periods WHERE id = of_period FOR UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    UPDATE budget_leases l SET granted = l.granted - l.safe, safe = 0
    WHERE l.period = part.id AND l.safe > 0 AND l.expires_at <= clock_timestamp();
    DELETE FROM budget_leases l WHERE l.period = part.id AND l.granted <= l.booked
        AND l.expires_at < clock_timestamp() - interval '1 hour';
    SELECT coalesce(sum(greatest(l.granted - l.booked, 0)), 0) INTO others
    FROM budget_leases l WHERE l.period = part.id AND l.id <> lease;
    SELECT * INTO mine FROM budget_leases l WHERE l.id = lease;
    granted := coalesce(mine.granted, 0);
    IF mine.asked >= number THEN
        want := granted;
        slack := 0;
    END IF;
    mine.booked := coalesce(mine.booked, 0);
    remaining := whole.amount - part.spent - others - greatest(granted - mine.booked, 0);
    IF want > granted THEN
        given := least(greatest(want - granted - slack, 0), greatest(remaining, 0));
        given := given + least(slack, want - granted, greatest(remaining - given, 0) / 32);
        granted := granted + given;
    ELSE
        granted := greatest(want, least(granted, mine.booked));
    END IF;
    INSERT INTO budget_leases (id, period, granted, safe, asked, expires_at)
    VALUES (lease, part.id, granted, greatest(keeps - greatest(want - granted, 0), 0), number,
            clock_timestamp() + ttl)
    ON CONFLICT (id) DO UPDATE SET granted = excluded.granted, safe = excluded.safe,
        asked = excluded.asked, expires_at = excluded.expires_at
    WHERE budget_leases.asked < excluded.asked;
    period := part.id;
    ends_in_s := extract(epoch FROM part.ends - clock_timestamp());
    unspent := whole.amount - part.spent;
    RETURN NEXT;
END $$;
