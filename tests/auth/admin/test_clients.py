"""Clients at the desk: what ends their tokens, whose they are, and that an operator is left."""

import asyncio
from typing import Any

import asyncpg
import pytest

import auth
from auth.admin import api_keys, client_secrets, clients, signing_keys, tenants
from auth.admin.desk import SHELL, Desk
from auth.errors import (
    Conflict,
    InvalidOption,
    LastOperator,
    NotPermitted,
    TooManySecrets,
    UnknownObject,
)
from auth.server import AuthorizationServer
from config.scope import SCOPES, TenantScope
from config.settings import AuthSettings


class Told(auth.Announcer):
    """Counts announcements."""

    def __init__(self) -> None:
        super().__init__(None)
        self.count = 0

    async def announce(self) -> None:
        self.count += 1


@pytest.fixture
def announcer() -> Told:
    return Told()


@pytest.fixture
def desk(pool: asyncpg.Pool, box: auth.SecretBox, announcer: Told, client: auth.NewClient) -> Desk:
    """Tenant `acme` with the client `demo`."""
    return Desk(pool, box, AuthSettings(), announcer)


def caller(role: Any, tenant: str = "acme") -> TenantScope:
    return TenantScope(tenant, "a-caller", frozenset(SCOPES), role=role)


async def generation(pool: asyncpg.Pool, client_id: str = "demo") -> tuple[int, int | None]:
    """What the client's tokens carry from now on, and below which the recorded ones are dead."""
    recorded = "SELECT generation FROM revocations WHERE kind = 'client' AND subject = $1"
    current = "SELECT generation FROM clients WHERE id = $1"
    return await pool.fetchval(current, client_id), await pool.fetchval(recorded, client_id)


async def authenticates(desk: Desk, secret: str, client_id: str = "demo") -> bool:
    return await auth.clients.find_authenticated(desk.db, desk.box, client_id, secret) is not None


async def test_only_what_takes_away_raises_the_generation(
    desk: Desk, pool: asyncpg.Pool, announcer: Told
) -> None:
    await clients.update_client(desk, SHELL, "demo", name="new name", allowed_agents=None)
    assert await generation(pool) == (0, None)
    await clients.update_client(desk, SHELL, "demo", allowed_agents=["hr"])
    assert await generation(pool) == (1, 1)
    await clients.update_client(desk, SHELL, "demo", disabled=True)
    assert await generation(pool) == (2, 2)
    # Nothing more to take.
    await clients.update_client(desk, SHELL, "demo", disabled=True)
    await clients.update_client(desk, SHELL, "demo", disabled=False)
    assert await generation(pool) == (2, 2)
    assert announcer.count == 5


async def test_a_refused_change_leaves_nothing(
    desk: Desk, pool: asyncpg.Pool, announcer: Told
) -> None:
    with pytest.raises(InvalidOption):
        await clients.update_client(desk, SHELL, "demo", name="new", end_user="sometimes")  # type: ignore[typeddict-item]
    with pytest.raises(NotPermitted):
        await clients.update_client(desk, caller("editor"), "demo", name="new")
    found = await clients.get_client(desk, SHELL, "demo")
    assert (found.name, found.end_user) == ("demo", "optional")
    assert (await generation(pool), announcer.count) == ((0, None), 0)


async def test_two_secrets_are_valid_until_the_first_expires(
    desk: Desk, pool: asyncpg.Pool, client: auth.NewClient
) -> None:
    first = client.client_secret
    second = await client_secrets.rotate_secret(desk, SHELL, "demo", overlap_s=3600)
    assert await authenticates(desk, first)
    assert await authenticates(desk, second.secret)
    assert await generation(pool) == (0, None)
    with pytest.raises(TooManySecrets):
        await client_secrets.rotate_secret(desk, SHELL, "demo")
    await pool.execute("UPDATE client_secrets SET expires_at = expires_at - interval '1 hour'")
    assert not await authenticates(desk, first)
    assert await authenticates(desk, second.secret)
    third = await client_secrets.rotate_secret(desk, SHELL, "demo")
    assert [secret.id for secret in await client_secrets.list_secrets(desk, SHELL, "demo")] == [
        second.info.id,
        third.info.id,
    ]


async def test_a_leaked_secret_ends_at_once_with_the_tokens(
    desk: Desk, pool: asyncpg.Pool, client: auth.NewClient
) -> None:
    made = await client_secrets.rotate_secret(desk, SHELL, "demo", overlap_s=0)
    assert not await authenticates(desk, client.client_secret)
    assert await authenticates(desk, made.secret)
    assert await generation(pool) == (1, 1)
    await client_secrets.retire_secret(desk, SHELL, "demo", made.info.id)
    assert not await authenticates(desk, made.secret)
    assert await generation(pool) == (2, 2)
    with pytest.raises(UnknownObject):
        await client_secrets.retire_secret(desk, SHELL, "demo", made.info.id)


@pytest.mark.parametrize("overlap_s", [-1, 30 * 86_400 + 1])
async def test_an_overlap_has_bounds(desk: Desk, overlap_s: int) -> None:
    with pytest.raises(InvalidOption, match="from 0 to 2592000"):
        await client_secrets.rotate_secret(desk, SHELL, "demo", overlap_s=overlap_s)


async def test_of_secrets_made_at_once_two_are_valid(desk: Desk) -> None:
    rotations = (client_secrets.rotate_secret(desk, SHELL, "demo") for _ in range(3))
    results = await asyncio.gather(*rotations, return_exceptions=True)
    assert sorted(isinstance(result, TooManySecrets) for result in results) == [False, True, True]
    assert len(await client_secrets.list_secrets(desk, SHELL, "demo")) == 2


JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}


async def test_a_client_with_keys_alone_has_no_secret(
    desk: Desk, pool: asyncpg.Pool, client: auth.NewClient
) -> None:
    options: Any = {"auth_methods": ["private_key_jwt"], "jwks": {"keys": [JWK]}}
    made = await clients.create_client(desk, SHELL, name="x", tenant="acme", **options)
    assert made.secret == ""
    with pytest.raises(InvalidOption, match="no secrets"):
        await client_secrets.rotate_secret(desk, SHELL, made.client.id)
    await clients.update_client(desk, SHELL, "demo", **options)
    assert await pool.fetchval("SELECT count(*) FROM client_secrets") == 0


async def test_a_client_bound_to_proofs_gets_no_api_key(desk: Desk) -> None:
    await clients.update_client(desk, SHELL, "demo", dpop=True)
    with pytest.raises(InvalidOption, match="no API keys"):
        await api_keys.create_key(desk, SHELL, "demo")


async def test_a_disabled_key_is_dead_and_recorded(desk: Desk, pool: asyncpg.Pool) -> None:
    made = await api_keys.create_key(desk, SHELL, "demo", name="laptop", scopes=["agents"])
    assert (made.info.name, made.info.scopes) == ("laptop", ("agents",))
    assert await auth.find_key(pool, desk.box, made.key) is not None
    key = await api_keys.disable_key(desk, caller("admin"), made.info.id)
    assert key.disabled_at is not None
    assert await auth.find_key(pool, desk.box, made.key) is None
    assert await pool.fetchval("SELECT subject FROM revocations WHERE kind = 'key'") == key.id


async def operator(desk: Desk, tenant: str = "acme") -> str:
    made = await clients.create_client(
        desk, SHELL, name="root", tenant=tenant, role="operator", scopes=["admin"]
    )
    return made.client.id


@pytest.mark.parametrize(
    "changes", [{"disabled": True}, {"role": "admin"}, {"scopes": ["inference"]}]
)
async def test_the_last_operator_stays(desk: Desk, changes: Any) -> None:
    first = await operator(desk)
    with pytest.raises(LastOperator):
        await clients.update_client(desk, SHELL, first, **changes)
    with pytest.raises(LastOperator):
        await tenants.update_tenant(desk, SHELL, "acme", disabled=True)
    await operator(desk)
    await clients.update_client(desk, SHELL, first, **changes)


async def test_two_operators_do_not_remove_each_other(desk: Desk) -> None:
    both = [await operator(desk), await operator(desk)]
    removals = (clients.update_client(desk, SHELL, one, disabled=True) for one in both)
    results = await asyncio.gather(*removals, return_exceptions=True)
    assert sorted(isinstance(result, LastOperator) for result in results) == [False, True]


async def test_a_disabled_tenant_ends_the_tokens_of_all_its_clients_alone(
    desk: Desk, pool: asyncpg.Pool, box: auth.SecretBox
) -> None:
    await auth.create_tenant(pool, "rival", "Rival")
    await operator(desk, "rival")
    await auth.create_client(pool, box, "acme", name="x", client_id="second")
    await auth.create_client(pool, box, "rival", name="x", client_id="stranger")
    await tenants.update_tenant(desk, SHELL, "acme", disabled=True)
    assert await generation(pool) == await generation(pool, "second") == (1, 1)
    assert await generation(pool, "stranger") == (0, None)
    with pytest.raises(Conflict, match="disabled"):
        await api_keys.create_key(desk, SHELL, "demo")
    again = await tenants.update_tenant(desk, SHELL, "acme", disabled=True)
    assert again.disabled_at is not None
    assert await generation(pool) == (1, 1)


async def test_a_tenants_admin_sees_its_rows_alone_even_without_a_where(
    desk: Desk, pool: asyncpg.Pool, box: auth.SecretBox
) -> None:
    await auth.create_tenant(pool, "rival", "Rival")
    await auth.create_client(pool, box, "rival", name="x", client_id="stranger")
    await auth.create_key(pool, box, "stranger")
    async with desk.reading(caller("admin")) as con:
        assert [row["id"] for row in await con.fetch("SELECT id FROM clients")] == ["demo"]
        for table, count in (("tenants", 1), ("client_secrets", 1), ("api_keys", 0)):
            assert await con.fetchval(f"SELECT count(*) FROM {table}") == count
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await con.execute(
                "INSERT INTO clients (id, tenant, name, scopes, default_scopes)"
                " VALUES ('x', 'rival', 'x', '{agents}', '{agents}')"
            )
    async with desk.reading(caller("operator")) as con:
        assert await con.fetchval("SELECT count(*) FROM clients") == 2


async def test_a_new_client_is_made_whole_or_not_at_all(desk: Desk, pool: asyncpg.Pool) -> None:
    with pytest.raises(auth.UnknownTenant):
        await clients.create_client(desk, SHELL, name="x", tenant="nobody")
    with pytest.raises(auth.ClientExists):
        await clients.create_client(desk, SHELL, name="x", tenant="acme", client_id="demo")
    assert await pool.fetchval("SELECT count(*) FROM client_secrets") == 1


async def test_everything_chosen_is_stored(desk: Desk) -> None:
    chosen: Any = {
        "role": "viewer",
        "scopes": ["inference", "knowledge"],
        "default_scopes": ["inference"],
        "auth_methods": ["private_key_jwt", "client_secret_post"],
        "jwks": {"keys": [JWK]},
        "assertion_algorithms": ["EdDSA"],
        "dpop": True,
        "allowed_agents": ["hr"],
        "allowed_models": [],
        "end_user": "required",
    }
    made = await clients.create_client(desk, SHELL, name="x", tenant="acme", **chosen)
    found = await auth.find_client(desk.db, made.client.id)
    assert found == made.client
    for name, value in chosen.items():
        if name.startswith("allowed_"):
            assert getattr(found.allowed, name.removeprefix("allowed_")) == set(value)
        else:
            stored = getattr(found, name)
            assert stored == (set(value) if isinstance(value, list) else value), name
    assert found.allowed.vector_stores is None


async def test_signing_keys_are_rotated_and_removed_by_operators(
    desk: Desk, keys: auth.SigningKeys, announcer: Told, server: AuthorizationServer
) -> None:
    made = await signing_keys.rotate_signing_key(desk, caller("operator"), now=True)
    assert made.state == "signing"
    await signing_keys.remove_signing_key(desk, caller("operator"), made.kid)
    assert announcer.count == 2
    with pytest.raises(UnknownObject):
        await signing_keys.remove_signing_key(desk, caller("operator"), "nothing\0")
    with pytest.raises(NotPermitted):
        await signing_keys.list_signing_keys(desk, caller("admin"))
