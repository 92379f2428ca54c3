"""What one process revokes another refuses: at once with Redis, within 5 s without."""

import asyncio
import datetime as dt
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
from auth_support import ISSUER, bearer, make_verifier

import auth
from auth import watch
from auth.revocations import record_client, record_key, record_token
from auth.token import issue, read
from config import embedded
from config.postgres import open_pool
from config.settings import AuthSettings

SETTINGS = AuthSettings()
WITH_REDIS_S = 1.0
WITHOUT_REDIS_S = 5.0
Revoke = Callable[["Scene"], Awaitable[None]]


@dataclass
class Scene:
    """Two processes on one database; `other` is the one that did not do it."""

    pool: asyncpg.Pool
    box: auth.SecretBox
    keys: auth.SigningKeys
    other: auth.Verifier
    token: str
    key: auth.NewKey

    async def refused_within(self, credential: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                await self.other.verify(bearer(credential))
            except auth.InvalidToken:
                return True
            await asyncio.sleep(0.01)
        return False


@asynccontextmanager
async def process(
    pool: asyncpg.Pool, box: auth.SecretBox, cache: redis.asyncio.Redis
) -> AsyncIterator[auth.Verifier]:
    """What a web worker opens."""
    keys = await auth.SigningKeys.load(pool, box, SETTINGS)
    revocations = auth.Revocations(pool)
    async with auth.watching(pool, cache, SETTINGS, keys, revocations):
        yield make_verifier(pool, box, keys, revocations=revocations)


@asynccontextmanager
async def scene(
    pool: asyncpg.Pool,
    box: auth.SecretBox,
    client: auth.NewClient,
    cache: redis.asyncio.Redis,
) -> AsyncIterator[Scene]:
    keys = await auth.SigningKeys.load(pool, box, SETTINGS)
    found = await auth.find_client(pool, client.client_id)
    assert found is not None
    token = issue(keys, issuer=ISSUER, audience=ISSUER, client=found, scope="agents", ttl_s=900)
    key = await auth.create_key(pool, box, client.client_id)
    async with process(pool, box, cache) as other:
        for credential in (token, key.key):
            await other.verify(bearer(credential))
        yield Scene(pool, box, keys, other, token, key)


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def no_redis(tmp_path: Path) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.from_url(f"unix://{tmp_path / 'none'}") as client:
        yield client


async def revoke_token(scene: Scene) -> None:
    claims = read(scene.token, scene.keys, issuer=ISSUER, audience=ISSUER)
    await record_token(scene.pool, claims.jti, dt.datetime.fromtimestamp(claims.exp, dt.UTC))


async def raise_generation(scene: Scene) -> None:
    """As the registry does when a client is disabled, loses a right, or a secret is retired."""
    async with scene.pool.acquire() as con, con.transaction():
        generation = await con.fetchval(
            "UPDATE clients SET generation = generation + 1, disabled_at = now() "
            "WHERE id = 'demo' RETURNING generation"
        )
        await record_client(con, "demo", generation)


async def disable_key(scene: Scene) -> None:
    async with scene.pool.acquire() as con, con.transaction():
        await con.execute("UPDATE api_keys SET disabled_at = now()")
        await record_key(con, scene.key.key_id)


async def remove_key(scene: Scene) -> None:
    (kid,) = (str(key["kid"]) for key in scene.keys.jwks()["keys"])
    assert await auth.remove_signing_key(scene.pool, scene.box, SETTINGS, kid)


REVOCATIONS = pytest.mark.parametrize(
    ("revoke", "credential"),
    [
        (revoke_token, "token"),
        (raise_generation, "token"),
        (raise_generation, "key"),
        (disable_key, "key"),
        (remove_key, "token"),
    ],
)


def credential_of(scene: Scene, name: str) -> str:
    return scene.token if name == "token" else scene.key.key


@REVOCATIONS
async def test_a_revocation_is_effective_within_a_second_through_redis(
    pool: asyncpg.Pool,
    box: auth.SecretBox,
    client: auth.NewClient,
    cache: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
    revoke: Revoke,
    credential: str,
) -> None:
    # So that polling has no part in it.
    monkeypatch.setattr(watch, "_POLL_S", 60.0)
    async with scene(pool, box, client, cache) as played:
        await revoke(played)
        await auth.Announcer(cache).announce()
        assert await played.refused_within(credential_of(played, credential), WITH_REDIS_S)


@REVOCATIONS
async def test_a_revocation_is_effective_within_five_seconds_without_redis(
    pool: asyncpg.Pool,
    box: auth.SecretBox,
    client: auth.NewClient,
    no_redis: redis.asyncio.Redis,
    revoke: Revoke,
    credential: str,
) -> None:
    async with scene(pool, box, client, no_redis) as played:
        await revoke(played)
        await auth.Announcer(no_redis).announce()
        assert await played.refused_within(credential_of(played, credential), WITHOUT_REDIS_S)


@pytest.mark.parametrize("nonsense", [b":x\r\n", b"*x\r\n", b"HTTP/1.1 400\r\n\r\n", b"$9\r\n\xff"])
async def test_a_redis_that_talks_nonsense_hinders_nothing(
    pool: asyncpg.Pool, box: auth.SecretBox, client: auth.NewClient, nonsense: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            writer.write(nonsense)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, redis.asyncio.from_url(f"redis://127.0.0.1:{port}") as liar:
        assert await auth.Throttle(liar, box).count_failure("demo", "192.0.2.1") == 0
        async with scene(pool, box, client, liar) as played:
            await revoke_token(played)
            await auth.Announcer(liar).announce()
            assert await played.refused_within(played.token, WITHOUT_REDIS_S)


async def test_a_wiped_redis_revives_nothing(
    pool: asyncpg.Pool, box: auth.SecretBox, client: auth.NewClient, cache: redis.asyncio.Redis
) -> None:
    async with scene(pool, box, client, cache) as played:
        await revoke_token(played)
        await auth.Announcer(cache).announce()
        assert await played.refused_within(played.token, WITH_REDIS_S)
        await cache.flushall()
        await played.other.revocations.refresh()
        async with process(pool, box, cache) as started_later:
            for verifier in (played.other, started_later):
                with pytest.raises(auth.InvalidToken, match="revoked"):
                    await verifier.verify(bearer(played.token))


async def test_redis_may_come_back_and_is_heard_again(
    pool: asyncpg.Pool,
    box: auth.SecretBox,
    client: auth.NewClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "_POLL_S", 0.2)
    folder = embedded.runtime_dir(tmp_path)
    running: subprocess.Popen[bytes] | None = None

    def start() -> subprocess.Popen[bytes]:
        child = embedded.spawn(embedded.redis_command(tmp_path, folder))
        while not (folder / "redis.sock").exists():
            assert child.poll() is None
            time.sleep(0.02)
        return child

    def stop(child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(30)
        (folder / "redis.sock").unlink(missing_ok=True)

    async def subscribed(cache: redis.asyncio.Redis) -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    if (await cache.pubsub_numsub("naru:revoked"))[0][1]:
                        return
                except redis.exceptions.RedisError:
                    pass
                await asyncio.sleep(0.05)

    try:
        running = start()
        async with (
            redis.asyncio.from_url(embedded.redis_url(folder)) as cache,
            scene(pool, box, client, cache) as played,
        ):
            await subscribed(cache)
            stop(running)
            await revoke_token(played)
            assert await played.refused_within(played.token, WITHOUT_REDIS_S)
            running = start()
            await subscribed(cache)
    finally:
        if running is not None and running.poll() is None:
            stop(running)
        shutil.rmtree(folder, ignore_errors=True)


async def test_what_is_known_holds_while_the_store_is_away_and_it_is_said_once(
    pool: asyncpg.Pool,
    database: str,
    box: auth.SecretBox,
    client: auth.NewClient,
    no_redis: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(watch, "_POLL_S", 0.05)
    async with (
        await open_pool(database, size=2, role="naru_auth") as own,
        scene(own, box, client, no_redis) as played,
    ):
        await revoke_token(played)
        assert await played.refused_within(played.token, WITHOUT_REDIS_S)
        found = await auth.find_client(own, "demo")
        assert found is not None
        good = issue(
            played.keys, issuer=ISSUER, audience=ISSUER, client=found, scope="agents", ttl_s=900
        )
        await own.close()
        async with asyncio.timeout(10):
            while not caplog.records:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        await played.other.verify(bearer(good))
        with pytest.raises(auth.InvalidToken, match="revoked"):
            await played.other.verify(bearer(played.token))


async def test_the_watch_clears_what_has_expired(
    pool: asyncpg.Pool,
    box: auth.SecretBox,
    client: auth.NewClient,
    cache: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "_CLEAR_S", 0.0)
    await pool.execute("INSERT INTO used_once VALUES ('used', now() - interval '1 s')")
    async with scene(pool, box, client, cache), asyncio.timeout(10):
        while await pool.fetchval("SELECT count(*) FROM used_once"):
            await asyncio.sleep(0.02)
