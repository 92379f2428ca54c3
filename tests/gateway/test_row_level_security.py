"""The second wall: what raw SQL reaches under the roles that the service works as."""

from dataclasses import replace

import asyncpg
import pytest
from knowledge import fill, upload
from large_store import LargeStore, grow
from support import scope_of
from turns_support import store_turn

import rag
from config.postgres import Connection, open_pool, tenant_transaction
from config.scope import TenantScope
from config.settings import SessionSettings
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition
from gateway.govern.audit import AuditEvent, append
from gateway.openai.chat import Usage
from gateway.sessions.feedback import Opinion, give_feedback
from gateway.sessions.parts import Said
from gateway.sessions.store import Turn
from gateway.sessions.turns import Keeping, NewTurn, TurnStore
from rag.testing import InMemoryEmbedder

NO_TENANTS = {
    *("schema_migrations", "signing_keys", "revocations", "used_once"),
    *("pgqueuer", "pgqueuer_log", "pgqueuer_schedules", "pgqueuer_statistics"),
}
"""Tables whose rows belong to no tenant; `naru_app` can't touch them."""

CLIENTS = {"acme": "app", "rival": "stranger"}
ROLES = ("naru_app", "naru_auth", "naru_jobs")
_REFUSED = "row-level security|permission denied"
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


async def tables(owner: asyncpg.Connection) -> list[str]:
    """Every table but those of no tenant."""
    rows = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace = 'public'::regnamespace"
    )
    names = {row["relname"] for row in rows}
    assert names > NO_TENANTS
    return sorted(names - NO_TENANTS)


async def data_tables(owner: asyncpg.Connection) -> list[str]:
    """The tables `naru_app` works on; each names the tenant of its rows."""
    names = [
        name
        for name in await tables(owner)
        if await owner.fetchval("SELECT has_table_privilege('naru_app', $1, 'SELECT')", name)
    ]
    assert len(names) >= 31
    return names


async def add_usage(con: Connection, tenant: str) -> None:
    await con.execute(
        "INSERT INTO usage_records (id, tenant, at, request_id, client, end_user, kind, model,"
        " target, stream, prompt_tokens, completion_tokens, cached_tokens, estimated, ending,"
        " attempts, verdicts) VALUES (gen_random_uuid(), $1, now(), '', '', '', '', '', '', true,"
        " 1, 1, 1, true, '', '[]', '{}')",
        tenant,
    )
    await con.execute(
        "INSERT INTO usage_days VALUES"
        " ($1, now(), '', '', '', 0, '', '', '', 1, 1, 1, 1, 1, 1, 1, 1)",
        tenant,
    )


async def add_waiting_response(con: Connection, tenant: str, client: str) -> None:
    await con.execute(
        "INSERT INTO responses (id, tenant, client, status, body, input, expires_at)"
        " VALUES ($1, $1, $2, 'queued', '{}', '[]', now() + interval '1 day')",
        *(tenant, client),
    )
    await con.execute("INSERT INTO response_jobs (response) VALUES ($1)", tenant)
    await con.execute(
        "INSERT INTO response_requests (response, caller, request) VALUES ($1, '{}', '{}')", tenant
    )
    await con.execute(
        "INSERT INTO response_events (response, last, events, expires_at)"
        " VALUES ($1, 0, '[]', now() + interval '1 day')",
        tenant,
    )


async def add_kept_turn(pool: asyncpg.Pool, caller: TenantScope) -> None:
    store, message = TurnStore(pool, SessionSettings(), None), f"{caller.tenant}: kept"
    keeping = Keeping(request=b"", key=b"key", shape=b"{}")
    await store.begin(caller, NewTurn(message, "mine", "hr", "?", keeping))
    await store.tell(caller, message, 0, [Said("!")])


async def add_budget(con: Connection, tenant: str) -> None:
    await con.execute(
        "INSERT INTO budgets (id, tenant, period, amount) VALUES ($1, $1, 'day', 1)", tenant
    )
    taken = "SELECT lease_budget($1, $1, '', '', NULL, $1, 1, 1, 0, 0, interval '1 day')"
    await con.execute(taken, tenant)


@pytest.fixture
async def filled(pool: asyncpg.Pool) -> asyncpg.Pool:
    """Both tenants have a row in every table of data, and a file that waits to be read."""
    usage = Usage(1, 1, 2)
    turn = Turn("msg", "hr", "?", "!", "extractive", [], usage, complete=True)
    for tenant, client in CLIENTS.items():
        caller = scope_of(tenant, client)
        store = (await rag.create_store(pool, caller, name="handbook")).id
        await fill(pool, InMemoryEmbedder(), store, {"a.md": "annual leave"}, tenant=tenant)
        async with tenant_transaction(pool, tenant) as con:
            index = await con.fetchval("SELECT id FROM indexes")
        await grow(pool, LargeStore(store, index, 1), tenant=tenant)
        await save_agent(pool, caller, AgentDefinition("hr", "", "default", (store,)))
        await store_turn(pool, caller, "mine", replace(turn, message_id=tenant))
        await give_feedback(pool, caller, tenant, Opinion(up=True))
        async with tenant_transaction(pool, tenant) as con:
            await con.execute("INSERT INTO message_traces VALUES ($1, $1, '{}')", tenant)
        await add_kept_turn(pool, caller)
    for tenant, client in CLIENTS.items():
        caller = scope_of(tenant, client)
        waiting = await upload(pool, "b.md", "sick leave", tenant=tenant)
        (store,) = await rag.list_stores(pool, caller)
        await rag.add_file(pool, caller, store.id, waiting.id)
        async with tenant_transaction(pool, tenant) as con:
            batch = "INSERT INTO file_batches (id, store_id) VALUES ($1, $2)"
            await con.execute(batch, f"vsfb_{tenant}", store.id)
            await con.execute("INSERT INTO stray_objects (object) VALUES ($1)", tenant)
            source = (
                "INSERT INTO sources (id, store_id, client, kind, origin, due_at)"
                " VALUES ($1, $2, $3, 'urls', '{}', $4::text::timestamptz)"
            )
            for name, due in (("due", "-infinity"), ("not due", "infinity")):
                await con.execute(source, f"{tenant}: {name}", store.id, client, due)
            item = "INSERT INTO source_items (source_id, key) VALUES ($1, 'a')"
            await con.execute(item, f"{tenant}: due")
            early = "INSERT INTO early_embeddings (store_id, file_id, space, text_hash, embedding)"
            await con.execute(f"{early} VALUES ($1, $2, '', '', '[1]')", store.id, waiting.id)
            await add_waiting_response(con, tenant, client)
            await con.execute("INSERT INTO limits (id, tenant, per) VALUES ($1, $1, 'key')", tenant)
            await add_budget(con, tenant)
            alias = "INSERT INTO agent_aliases (agent, name, tenant, targets)"
            await con.execute(f"{alias} VALUES ('hr', 'prod', $1, '[]')", tenant)
            await append(con, b"key", tenant, [AuditEvent(tenant, "made", "done")])
            await add_usage(con, tenant)
    return pool


async def test_every_table_of_a_tenant_is_behind_a_policy_its_owner_obeys_too(
    filled: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    assert {"chunk_terms_1", "chunk_embeddings_2"} < set(await tables(owner)), "partitions too"
    for name in await tables(owner):
        row = await owner.fetchrow(
            "SELECT relrowsecurity, relforcerowsecurity,"
            " (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) AS policies"
            " FROM pg_class c WHERE oid = $1::regclass",
            name,
        )
        assert (row["relrowsecurity"], row["relforcerowsecurity"]) == (True, True), name
        assert row["policies"] >= 1, name


async def test_the_roles_of_the_service_stand_under_every_policy(
    owner: asyncpg.Connection,
) -> None:
    for role in ROLES:
        row = await owner.fetchrow(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcanlogin,"
            " (SELECT count(*) FROM pg_class WHERE relowner = r.oid) AS relations,"
            " (SELECT count(*) FROM pg_proc WHERE proowner = r.oid) AS functions"
            " FROM pg_roles r WHERE rolname = $1",
            role,
        )
        assert tuple(row) == (False, False, False, False, 0, 0), role


async def test_no_role_can_do_to_a_table_what_policies_do_not_cover(
    owner: asyncpg.Connection,
) -> None:
    for name in [*await tables(owner), *NO_TENANTS]:
        for role in ROLES:
            for right in ("TRUNCATE", "REFERENCES", "TRIGGER"):
                query = "SELECT has_table_privilege($1, $2, $3)"
                assert not await owner.fetchval(query, role, name, right), (role, name, right)


async def test_identity_and_data_do_not_see_each_other(owner: asyncpg.Connection) -> None:
    identity = {"tenants", "clients", "client_secrets", "api_keys"} | NO_TENANTS
    for name in [*await tables(owner), *NO_TENANTS]:
        stranger = "naru_app" if name in identity else "naru_auth"
        for right in RIGHTS:
            query = "SELECT has_table_privilege($1, $2, $3)"
            assert not await owner.fetchval(query, stranger, name, right), (stranger, name, right)


async def test_without_a_tenant_nothing_is_there(
    filled: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    for name in await data_tables(owner):
        assert await owner.fetchval(f"SELECT count(DISTINCT tenant) FROM {name}") == 2, name
        async with filled.acquire() as con:
            assert await con.fetchval(f"SELECT count(*) FROM {name}") == 0, name
            async with con.transaction():
                # As a connection is left when a transaction that set it has ended.
                await con.execute("SELECT set_config('naru.tenant', '', true)")
                assert await con.fetchval(f"SELECT count(*) FROM {name}") == 0, name


async def test_a_tenant_sees_its_own_rows_alone(
    filled: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    for name in await data_tables(owner):
        own = await owner.fetchval(f"SELECT count(*) FROM {name} WHERE tenant = 'acme'")
        async with tenant_transaction(filled, "acme") as con:
            assert await con.fetchval(f"SELECT count(*) FROM {name}") == own > 0, name
        async with tenant_transaction(filled, "nobody") as con:
            assert await con.fetchval(f"SELECT count(*) FROM {name}") == 0, name


async def test_a_row_of_another_tenant_can_t_be_written(
    filled: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    for name in await data_tables(owner):
        row = await owner.fetchval(
            f"SELECT row_to_json(t)::text FROM {name} t WHERE tenant = 'rival' LIMIT 1"
        )
        columns = await owner.fetchval(
            "SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = $1::text::regclass"
            " AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            name,
        )
        insert = (
            f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE"
            f" SELECT {columns} FROM json_populate_record(NULL::{name}, $1::text::json)"
        )
        move = f"UPDATE {name} SET tenant = 'rival'"
        for tenant in ("acme", ""):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                async with tenant_transaction(filled, tenant) as con:
                    await con.execute(insert, row)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=_REFUSED):
            async with tenant_transaction(filled, "acme") as con:
                await con.execute(move)


async def test_a_row_of_another_tenant_can_t_be_changed(
    filled: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    for name in await data_tables(owner):
        for right, statement in (
            ("UPDATE", f"UPDATE {name} SET tenant = tenant WHERE tenant <> 'acme'"),
            ("DELETE", f"DELETE FROM {name} WHERE tenant <> 'acme'"),
        ):
            query = "SELECT has_table_privilege('naru_app', $1, $2)"
            if not await owner.fetchval(query, name, right):
                continue
            async with tenant_transaction(filled, "acme") as con:
                assert await con.execute(statement) == f"{right} 0", name


async def test_the_job_worker_sees_of_other_tenants_what_is_to_be_done_and_no_more(
    filled: asyncpg.Pool, owner: asyncpg.Connection, empty_database: str
) -> None:
    async with await open_pool(empty_database, size=1, role="naru_jobs") as jobs:
        for name in await data_tables(owner):
            seen = await jobs.fetch(f"SELECT * FROM {name}")
            if name == "store_files":
                assert {(row["tenant"], row["status"]) for row in seen} == {
                    ("acme", "in_progress"),
                    ("rival", "in_progress"),
                }
            elif name == "stray_objects":
                assert {row["object"] for row in seen} == {"acme", "rival"}
            elif name == "sources":
                assert {row["id"] for row in seen} == {"acme: due", "rival: due"}
            elif name in ("audit_heads", "limits"):
                assert {row["tenant"] for row in seen} == {"acme", "rival"}
            elif name == "budgets":
                assert {row["id"] for row in seen} == {"acme", "rival"}
            elif name == "response_jobs":
                assert {row["response"] for row in seen} == {"acme", "rival"}
            else:
                assert seen == [], name
        async with tenant_transaction(jobs, "acme") as con:
            change = "UPDATE store_files SET status = 'failed' WHERE tenant = 'rival'"
            assert await con.execute(change) == "UPDATE 0"


async def test_the_job_worker_sees_of_other_tenants_what_is_over_and_deletes_it(
    filled: asyncpg.Pool, owner: asyncpg.Connection, empty_database: str
) -> None:
    async with await open_pool(empty_database, size=1, role="naru_jobs") as jobs:
        for name in ("response_events", "responses", "sessions", "turns"):
            await owner.execute(f"UPDATE {name} SET expires_at = now() WHERE tenant = 'rival'")
            seen = await jobs.fetch(f"SELECT tenant FROM {name}")
            assert {row["tenant"] for row in seen} == {"rival"}, name
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await jobs.execute(f"UPDATE {name} SET expires_at = now() + interval '1 day'")
            assert await jobs.execute(f"DELETE FROM {name}") == "DELETE 1"
            left = await owner.fetch(f"SELECT DISTINCT tenant FROM {name}")
            assert [row["tenant"] for row in left] == ["acme"], name


async def test_once_the_tenant_is_known_the_identity_of_others_is_out_of_sight(
    owner: asyncpg.Connection, empty_database: str
) -> None:
    for table in ("client_secrets", "api_keys"):
        await owner.execute(
            f"INSERT INTO {table} (id, client, hash) SELECT id, id, id::bytea FROM clients"
        )
    columns = dict.fromkeys(("client_secrets", "api_keys"), "client")
    columns |= {"tenants": "id", "clients": "tenant"}
    new = {
        "clients": "(id, tenant, name, scopes, default_scopes)"
        " VALUES ('x', 'rival', 'x', '{}', '{}')",
        "client_secrets": "(id, client, hash) VALUES ('x', 'stranger', '')",
        "api_keys": "(id, client, hash) VALUES ('x', 'stranger', '')",
    }
    async with await open_pool(empty_database, size=1, role="naru_auth") as identity:
        for table, column in columns.items():
            query = f"SELECT {column} FROM {table}"
            assert len(await identity.fetch(query)) == 2, "who asks is not known yet"
            async with tenant_transaction(identity, "acme") as con:
                assert [tuple(row) for row in await con.fetch(query)] in [[("acme",)], [("app",)]]
                change = f"UPDATE {table} SET id = id WHERE {column} IN ('rival', 'stranger')"
                assert await con.execute(change) == "UPDATE 0", table
        for table, row in new.items():
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                async with tenant_transaction(identity, "acme") as con:
                    await con.execute(f"INSERT INTO {table} {row}")
