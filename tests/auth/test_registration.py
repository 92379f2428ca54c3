"""Tenants, clients and keys are made on the real PostgreSQL, under the service's role."""

import asyncpg
import pytest

import auth
from auth.errors import ClientDisabled
from config.scope import SCOPES

Pool = asyncpg.Pool


async def stored_text(pool: Pool) -> str:
    """Everything the database holds about clients and keys, as text."""
    tables = ("clients", "client_secrets", "api_keys")
    query = " UNION ".join(f"SELECT {table}::text FROM {table}" for table in tables)
    rows = await pool.fetch(query)
    return "\n".join(row[0] for row in rows)


async def test_making_a_tenant_twice_leaves_the_first(pool: Pool) -> None:
    await auth.create_tenant(pool, "acme", "Acme")
    await auth.create_tenant(pool, "acme", "Other")
    assert await pool.fetchval("SELECT name FROM tenants") == "Acme"


async def test_a_client_holds_everything_but_admin_by_default(
    pool: Pool, box: auth.SecretBox
) -> None:
    await auth.create_tenant(pool, "acme", "Acme")
    new = await auth.create_client(pool, box, "acme", name="데모")
    found = await auth.find_client(pool, new.client_id)
    assert found is not None
    assert (found.tenant, found.name, found.disabled_at) == ("acme", "데모", None)
    assert found.scopes == found.default_scopes == set(SCOPES) - {"admin"} == set(new.scopes)


async def test_secrets_are_stored_and_printed_only_as_hashes(
    pool: Pool, box: auth.SecretBox, client: auth.NewClient
) -> None:
    key = await auth.create_key(pool, box, client.client_id)
    stored = await stored_text(pool)
    for secret in (client.client_secret, key.key, key.key.removeprefix("sk-naru-")):
        assert len(secret) >= 43
        assert secret not in stored + repr(client) + repr(key)
        assert secret.encode().hex() not in stored
    assert box.digest(client.client_secret).hex() in stored
    assert box.digest(key.key).hex() in stored


async def test_ids_and_secrets_never_repeat(pool: Pool, box: auth.SecretBox) -> None:
    await auth.create_tenant(pool, "acme", "Acme")
    made = [await auth.create_client(pool, box, "acme", name="one") for _ in range(3)]
    assert len({new.client_id for new in made} | {new.client_secret for new in made}) == 6


async def test_a_failed_registration_leaves_nothing(pool: Pool, box: auth.SecretBox) -> None:
    with pytest.raises(auth.UnknownTenant, match="'nobody'"):
        await auth.create_client(pool, box, "nobody", name="x")
    assert await stored_text(pool) == ""


async def test_a_taken_client_id_is_refused(
    pool: Pool, box: auth.SecretBox, client: auth.NewClient
) -> None:
    await auth.create_tenant(pool, "other", "Other")
    with pytest.raises(auth.ClientExists, match="'demo' exists"):
        await auth.create_client(pool, box, "other", name="x", client_id="demo")


@pytest.mark.parametrize("scopes", [("inference", "root"), (), ("",)])
async def test_unknown_or_no_scopes_are_refused(
    pool: Pool, box: auth.SecretBox, client: auth.NewClient, scopes: tuple[str, ...]
) -> None:
    with pytest.raises(auth.UnknownScope, match="choose from inference, agents"):
        await auth.create_client(pool, box, "acme", name="x", scopes=scopes)
    with pytest.raises(auth.UnknownScope, match="choose from inference, agents"):
        await auth.create_key(pool, box, client.client_id, scopes=scopes)


async def test_a_key_gets_no_more_than_its_client(
    pool: Pool, box: auth.SecretBox, client: auth.NewClient
) -> None:
    with pytest.raises(auth.UnknownScope, match="can't grant admin"):
        await auth.create_key(pool, box, client.client_id, scopes=("agents", "admin"))


@pytest.mark.parametrize("client_id", ["nobody", "", "a\0b", "\ud800", "x" * 65, "a/b"])
async def test_unknown_clients_are_none_and_get_no_keys(
    pool: Pool, box: auth.SecretBox, client_id: str
) -> None:
    assert await auth.find_client(pool, client_id) is None
    with pytest.raises(auth.UnknownClient):
        await auth.create_key(pool, box, client_id)


async def test_a_disabled_client_gets_no_keys(
    pool: Pool, box: auth.SecretBox, client: auth.NewClient
) -> None:
    await pool.execute("UPDATE clients SET disabled_at = now()")
    with pytest.raises(ClientDisabled, match="'demo' is disabled"):
        await auth.create_key(pool, box, client.client_id)


@pytest.mark.parametrize("bad", ["-a", "a b", "a:b", "한글", "a\0", "a\n", "\ud800", "x" * 65])
async def test_ids_keep_to_their_grammar(
    pool: Pool, box: auth.SecretBox, client: auth.NewClient, bad: str
) -> None:
    with pytest.raises(auth.InvalidName, match="tenant id"):
        await auth.create_tenant(pool, bad, "x")
    with pytest.raises(auth.InvalidName, match="client id"):
        await auth.create_client(pool, box, "acme", name="x", client_id=bad)
    with pytest.raises(auth.UnknownTenant):
        await auth.create_client(pool, box, bad, name="x")


@pytest.mark.parametrize("bad", ["", "a\0", "a\nb", "\ud800", "x" * 201])
async def test_names_are_printable(
    pool: Pool, box: auth.SecretBox, client: auth.NewClient, bad: str
) -> None:
    with pytest.raises(auth.InvalidName, match="printable"):
        await auth.create_tenant(pool, "new", bad)
    with pytest.raises(auth.InvalidName, match="printable"):
        await auth.create_client(pool, box, "acme", name=bad)


async def test_a_registration_joins_its_callers_transaction(
    pool: Pool, box: auth.SecretBox
) -> None:
    async with pool.acquire() as con:
        change = con.transaction()
        await change.start()
        await auth.create_tenant(con, "acme", "Acme")
        new = await auth.create_client(con, box, "acme", name="x")
        await change.rollback()
    assert await auth.find_client(pool, new.client_id) is None
