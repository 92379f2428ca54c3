"""Signing keys on the real PostgreSQL."""

import asyncio
import json

import asyncpg
import pytest
from auth_support import time_passes

import auth
from auth import SecretBox, SigningKeys
from auth.jose import decode, public_key
from config.errors import ConfigError
from config.postgres import open_pool
from config.settings import AuthSettings

Pool = asyncpg.Pool
DEFAULTS = AuthSettings()


def algorithm_in_use(keys: SigningKeys) -> str:
    return str(decode(keys.sign(b"{}", typ="at+jwt")).header["alg"])


async def test_a_restart_finds_the_same_key(pool: Pool, box: SecretBox) -> None:
    first = await SigningKeys.load(pool, box, DEFAULTS)
    assert (await SigningKeys.load(pool, box, DEFAULTS)).jwks() == first.jwks()


async def test_first_starts_at_once_make_one_key(pool: Pool, box: SecretBox) -> None:
    started = await asyncio.gather(*(SigningKeys.load(pool, box, DEFAULTS) for _ in range(4)))
    assert await pool.fetchval("SELECT count(*) FROM signing_keys") == 1
    assert all(keys.jwks() == started[0].jwks() for keys in started)


async def test_the_jwks_is_public_only_and_complete(pool: Pool, box: SecretBox) -> None:
    (jwk,) = (await SigningKeys.load(pool, box, DEFAULTS)).jwks()["keys"]
    assert set(jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (jwk["kty"], jwk["crv"], jwk["use"], jwk["alg"]) == ("EC", "P-256", "sig", "ES256")


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_what_is_signed_verifies_with_the_published_key(
    pool: Pool, box: SecretBox, algorithm: str
) -> None:
    keys = await SigningKeys.load(pool, box, AuthSettings(algorithm=algorithm))
    (published,) = keys.jwks()["keys"]
    signed = decode(keys.sign(b'{"a":1}', typ="at+jwt"))
    assert public_key(published).verifies(signed, [algorithm])
    assert signed.claims == {"a": 1}
    assert signed.header == {"alg": algorithm, "kid": published["kid"], "typ": "at+jwt"}
    assert not {"d", "p", "q", "dp", "dq", "qi", "oth", "k"} & set(published)


async def test_a_change_of_algorithm_publishes_the_new_key_before_it_signs(
    pool: Pool, box: SecretBox
) -> None:
    await SigningKeys.load(pool, box, DEFAULTS)
    keys = await SigningKeys.load(pool, box, AuthSettings(algorithm="EdDSA"))
    assert [key["alg"] for key in keys.jwks()["keys"]] == ["ES256", "EdDSA"]
    assert algorithm_in_use(keys) == "ES256"
    await time_passes(pool, 600)
    await keys.refresh()
    assert algorithm_in_use(keys) == "EdDSA"


async def test_private_keys_are_sealed_and_bound_to_their_kid(pool: Pool, box: SecretBox) -> None:
    await SigningKeys.load(pool, box, DEFAULTS)
    stored = await pool.fetchrow("SELECT * FROM signing_keys")
    assert b'"d"' not in stored["private_key"]
    assert '"d"' not in stored["public_jwk"]
    assert b'"d"' in box.open(stored["private_key"], b"signing key " + stored["kid"].encode())
    with pytest.raises(ConfigError):
        box.open(stored["private_key"], b"signing key other")


async def test_another_secret_key_is_one_clear_line(pool: Pool, box: SecretBox) -> None:
    await SigningKeys.load(pool, box, DEFAULTS)
    with pytest.raises(ConfigError, match=r"set auth\.secret_key"):
        await SigningKeys.load(pool, SecretBox("x" * 32), DEFAULTS)
    # Nor is one added that the processes with the right secret could not read.
    with pytest.raises(ConfigError):
        await SigningKeys.load(pool, SecretBox("x" * 32), AuthSettings(algorithm="EdDSA"))
    with pytest.raises(ConfigError):
        await auth.rotate_signing_key(pool, SecretBox("x" * 32), DEFAULTS)
    assert await pool.fetchval("SELECT count(*) FROM signing_keys") == 1


async def test_keys_load_on_a_pool_that_decodes_jsonb(
    pool: Pool, database: str, box: SecretBox
) -> None:
    async def init(con: asyncpg.Connection) -> None:
        await con.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )

    async with await open_pool(database, size=1, role="naru_auth", init=init) as decoding:
        await SigningKeys.load(decoding, box, DEFAULTS)
        assert await decoding.fetchval("SELECT public_jwk FROM signing_keys") is not None
    assert await pool.fetchval("SELECT public_jwk->>'kty' FROM signing_keys") == "EC"


async def test_the_apps_role_sees_nothing_of_identity(
    pool: Pool, database: str, box: SecretBox
) -> None:
    await SigningKeys.load(pool, box, DEFAULTS)
    async with await open_pool(database, size=1) as app:
        for table in ("tenants", "clients", "client_secrets", "api_keys", "signing_keys"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.fetch(f"SELECT * FROM {table}")
