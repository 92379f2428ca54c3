"""Signing keys on the real PostgreSQL."""

import asyncio
import json

import asyncpg
import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from auth import SecretBox, SigningKeys
from config.errors import ConfigError
from config.postgres import open_pool

Pool = asyncpg.Pool


async def test_a_restart_finds_the_same_key(pool: Pool, box: SecretBox) -> None:
    first = await SigningKeys.load(pool, box)
    assert (await SigningKeys.load(pool, box)).jwks() == first.jwks()


async def test_first_starts_at_once_make_one_key(pool: Pool, box: SecretBox) -> None:
    started = await asyncio.gather(*(SigningKeys.load(pool, box) for _ in range(4)))
    assert await pool.fetchval("SELECT count(*) FROM signing_keys") == 1
    assert all(keys.jwks() == started[0].jwks() for keys in started)


async def test_the_jwks_is_public_only_and_complete(pool: Pool, box: SecretBox) -> None:
    (jwk,) = (await SigningKeys.load(pool, box)).jwks()["keys"]
    assert set(jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (jwk["kty"], jwk["crv"], jwk["use"], jwk["alg"]) == ("EC", "P-256", "sig", "ES256")


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "RS256"])
async def test_what_is_signed_verifies_with_the_published_key(
    pool: Pool, box: SecretBox, algorithm: str
) -> None:
    keys = await SigningKeys.load(pool, box, algorithm)
    signed = jws.deserialize_compact(
        keys.sign(b"payload", typ="at+jwt"), KeySet.import_key_set(keys.jwks()), [algorithm]
    )
    assert signed.payload == b"payload"
    header = signed.headers()
    assert header == {"alg": algorithm, "kid": keys.jwks()["keys"][0]["kid"], "typ": "at+jwt"}
    assert not {"d", "p", "q", "dp", "dq", "qi", "oth", "k"} & set(keys.jwks()["keys"][0])


async def test_a_change_of_algorithm_keeps_the_old_key_for_verification(
    pool: Pool, box: SecretBox
) -> None:
    old = (await SigningKeys.load(pool, box)).jwks()["keys"][0]
    keys = await SigningKeys.load(pool, box, "Ed25519")
    assert [key["alg"] for key in keys.jwks()["keys"]] == ["Ed25519", "ES256"]
    found = keys.find(str(old["kid"]))
    assert found is not None
    assert found.algorithm == "ES256"


async def test_private_keys_are_sealed_and_bound_to_their_kid(pool: Pool, box: SecretBox) -> None:
    await SigningKeys.load(pool, box)
    stored = await pool.fetchrow("SELECT * FROM signing_keys")
    assert b'"d"' not in stored["private_key"]
    assert '"d"' not in stored["public_jwk"]
    assert b'"d"' in box.open(stored["private_key"], b"signing key " + stored["kid"].encode())
    with pytest.raises(ConfigError):
        box.open(stored["private_key"], b"signing key other")


async def test_another_secret_key_is_one_clear_line(pool: Pool, box: SecretBox) -> None:
    await SigningKeys.load(pool, box)
    with pytest.raises(ConfigError, match=r"set auth\.secret_key"):
        await SigningKeys.load(pool, SecretBox("x" * 32))
    assert await pool.fetchval("SELECT count(*) FROM signing_keys") == 1


@pytest.mark.parametrize("algorithm", ["HS256", "none", ""])
async def test_other_algorithms_are_refused(pool: Pool, box: SecretBox, algorithm: str) -> None:
    with pytest.raises(ConfigError, match="choose ES256, Ed25519 or RS256"):
        await SigningKeys.load(pool, box, algorithm)


async def test_keys_load_on_a_pool_that_decodes_jsonb(
    pool: Pool, database: str, box: SecretBox
) -> None:
    async def init(con: asyncpg.Connection) -> None:
        await con.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )

    async with await open_pool(database, size=1, role="naru_auth", init=init) as decoding:
        await SigningKeys.load(decoding, box)
        assert await decoding.fetchval("SELECT public_jwk FROM signing_keys") is not None
    assert await pool.fetchval("SELECT public_jwk->>'kty' FROM signing_keys") == "EC"


async def test_the_apps_role_sees_nothing_of_identity(
    pool: Pool, database: str, box: SecretBox
) -> None:
    await SigningKeys.load(pool, box)
    async with await open_pool(database, size=1) as app:
        for table in ("tenants", "clients", "client_secrets", "api_keys", "signing_keys"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.fetch(f"SELECT * FROM {table}")
