"""Signing keys change while tokens are issued and verified by two processes on one database."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest
import redis.asyncio
from auth_support import ISSUER, bearer, kid_in_use, make_verifier, time_passes

import auth
from auth.jose import decode
from auth.rotation import clear_signing_keys
from auth.token import issue
from config.settings import AuthSettings

SETTINGS = AuthSettings()
Pool = asyncpg.Pool


def published(keys: auth.SigningKeys) -> set[str]:
    return {str(key["kid"]) for key in keys.jwks()["keys"]}


async def test_a_new_key_is_published_at_once_and_signs_when_verifiers_know_it(
    pool: Pool, box: auth.SecretBox, keys: auth.SigningKeys
) -> None:
    old = kid_in_use(keys)
    new = await auth.rotate_signing_key(pool, box, SETTINGS)
    await keys.refresh()
    assert (kid_in_use(keys), published(keys)) == (old, {old, new})
    await time_passes(pool, 599)
    await keys.refresh()
    assert kid_in_use(keys) == old
    await time_passes(pool, 1)
    await keys.refresh()
    assert kid_in_use(keys) == new


async def test_an_old_key_is_kept_until_its_last_token_is_dead(
    pool: Pool, box: auth.SecretBox, keys: auth.SigningKeys
) -> None:
    old = kid_in_use(keys)
    new = await auth.rotate_signing_key(pool, box, SETTINGS)
    for seconds, left in ((600, {old, new}), (3660, {old, new}), (120, {new})):
        await time_passes(pool, seconds)
        await clear_signing_keys(pool, SETTINGS)
        await keys.refresh()
        assert published(keys) == left


async def test_a_key_of_age_is_followed_by_one_new_key_however_many_notice(
    pool: Pool, box: auth.SecretBox, keys: auth.SigningKeys
) -> None:
    old = kid_in_use(keys)
    others = [await auth.SigningKeys.load(pool, box, SETTINGS) for _ in range(3)]
    await time_passes(pool, 90 * 86_400 - 60)
    await keys.refresh()
    assert published(keys) == {old}
    await time_passes(pool, 120)
    await asyncio.gather(*(each.refresh() for each in (keys, *others)))
    await keys.refresh()
    assert len(published(keys)) == 2
    assert {kid_in_use(each) for each in (keys, *others)} == {old}
    await time_passes(pool, 600)
    await keys.refresh()
    assert kid_in_use(keys) != old


async def test_a_command_with_another_algorithm_does_not_retire_the_servers_key(
    pool: Pool, box: auth.SecretBox, keys: auth.SigningKeys
) -> None:
    old = kid_in_use(keys)
    await auth.rotate_signing_key(pool, box, AuthSettings(algorithm="EdDSA"), now=True)
    await time_passes(pool, 7200)
    await clear_signing_keys(pool, SETTINGS)
    await keys.refresh()
    assert kid_in_use(keys) == old


async def test_removing_the_key_that_signs_makes_another_sign_at_once(
    pool: Pool, box: auth.SecretBox, keys: auth.SigningKeys
) -> None:
    old = kid_in_use(keys)
    pending = await auth.rotate_signing_key(pool, box, SETTINGS)
    assert await auth.remove_signing_key(pool, box, SETTINGS, old)
    await keys.refresh()
    assert kid_in_use(keys) not in (old, pending)
    assert keys.find(old) is None
    assert pending in published(keys)


async def test_removing_another_key_leaves_the_one_that_signs(
    pool: Pool, box: auth.SecretBox, keys: auth.SigningKeys
) -> None:
    old = kid_in_use(keys)
    new = await auth.rotate_signing_key(pool, box, SETTINGS, now=True)
    assert await auth.remove_signing_key(pool, box, SETTINGS, old)
    assert not await auth.remove_signing_key(pool, box, SETTINGS, old)
    await keys.refresh()
    assert published(keys) == {new}


async def test_the_list_says_what_each_key_does(
    pool: Pool, box: auth.SecretBox, keys: auth.SigningKeys
) -> None:
    first = kid_in_use(keys)
    second = await auth.rotate_signing_key(pool, box, SETTINGS, now=True)
    third = await auth.rotate_signing_key(pool, box, SETTINGS)
    listed = await auth.list_signing_keys(pool)
    assert [(key.kid, key.state) for key in listed] == [
        (third, "next"),
        (second, "signing"),
        (first, "retired"),
    ]
    assert (listed[0].signs_from - listed[0].created_at).total_seconds() == pytest.approx(600, 1)
    assert "private" not in repr(listed)


async def test_an_unknown_key_is_looked_for_at_most_once_a_second(
    pool: Pool, box: auth.SecretBox, keys: auth.SigningKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    original = keys._read

    async def counted(known: dict[str, auth.SigningKeys]) -> object:
        reads.append(time.monotonic())
        return await original(known)

    monkeypatch.setattr(keys, "_read", counted)
    found = await asyncio.gather(*(keys.look_up(f"x{number}") for number in range(50)))
    assert found == [None] * 50
    assert len(reads) == 1
    new = await auth.rotate_signing_key(pool, box, SETTINGS)
    known = await keys.look_up(new)
    assert known is not None
    assert known.kid == new
    assert len(reads) == 2
    assert reads[1] - reads[0] >= 1.0


async def test_a_removed_key_is_not_looked_for(
    pool: Pool, box: auth.SecretBox, keys: auth.SigningKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = kid_in_use(keys)
    await auth.remove_signing_key(pool, box, SETTINGS, old)
    await keys.refresh()
    monkeypatch.setattr(keys, "_read", None)
    assert await keys.look_up(old) is None


async def test_an_unknown_key_while_the_store_is_away_is_no_refusal(
    pool: Pool, box: auth.SecretBox, keys: auth.SigningKeys, client: auth.NewClient
) -> None:
    elsewhere = await auth.SigningKeys.load(pool, box, SETTINGS)
    await auth.rotate_signing_key(pool, box, SETTINGS, now=True)
    await elsewhere.refresh()
    found = await auth.find_client(pool, client.client_id)
    assert found is not None
    text = issue(elsewhere, issuer=ISSUER, audience=ISSUER, client=found, scope="", ttl_s=60)
    verifier = make_verifier(pool, box, keys)
    await pool.close()
    with pytest.raises((OSError, asyncpg.InterfaceError)):
        await verifier.verify(bearer(text))


@dataclass
class Process:
    keys: auth.SigningKeys
    verifier: auth.Verifier


@pytest.fixture
async def processes(
    pool: Pool, box: auth.SecretBox, tmp_path: object
) -> AsyncIterator[tuple[Process, Process]]:
    """Two that poll at different times, and hear nothing."""
    no_redis = redis.asyncio.from_url(f"unix://{tmp_path}/none")
    started = []
    for _ in range(2):
        keys = await auth.SigningKeys.load(pool, box, SETTINGS)
        revocations = auth.Revocations(pool)
        context = auth.watching(pool, no_redis, SETTINGS, keys, revocations)
        await context.__aenter__()
        verifier = make_verifier(pool, box, keys, revocations=revocations)
        started.append((context, Process(keys, verifier)))
        await asyncio.sleep(0.3)
    yield started[0][1], started[1][1]
    for context, _ in started:
        await context.__aexit__(None, None, None)
    await no_redis.aclose()


class Load:
    """Issues tokens at one process and uses them at the other, all the time."""

    def __init__(self, client: auth.Client) -> None:
        self._client = client
        self.served = 0
        self.refused: list[str] = []

    async def run(self, at: Process, use_at: Process) -> None:
        while True:
            text = issue(
                at.keys, issuer=ISSUER, audience=ISSUER, client=self._client, scope="", ttl_s=900
            )
            try:
                await use_at.verifier.verify(bearer(text))
                self.served += 1
            except auth.InvalidToken:
                self.refused.append(str(decode(text).header["kid"]))
            await asyncio.sleep(0.005)


@pytest.fixture
async def load(
    pool: Pool, client: auth.NewClient, processes: tuple[Process, Process]
) -> AsyncIterator[Load]:
    found = await auth.find_client(pool, client.client_id)
    assert found is not None
    load = Load(found)
    first, second = processes
    pairs = [(first, second), (second, first), (first, first), (second, second)] * 4
    tasks = [asyncio.create_task(load.run(*pair)) for pair in pairs]
    yield load
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_rotation_under_load_loses_no_request(
    pool: Pool, box: auth.SecretBox, processes: tuple[Process, Process], load: Load
) -> None:
    for _ in range(3):
        new = await auth.rotate_signing_key(pool, box, SETTINGS, now=True)
        async with asyncio.timeout(10):
            while not all(kid_in_use(process.keys) == new for process in processes):
                await asyncio.sleep(0.01)
        served = load.served
        async with asyncio.timeout(10):
            while load.served < served + 100:
                await asyncio.sleep(0.01)
    assert load.refused == []


async def test_an_emergency_removal_under_load_refuses_only_what_the_removed_key_signed(
    pool: Pool, box: auth.SecretBox, processes: tuple[Process, Process], load: Load
) -> None:
    removed = kid_in_use(processes[0].keys)
    await auth.remove_signing_key(pool, box, SETTINGS, removed)
    async with asyncio.timeout(10):
        while any(kid_in_use(process.keys) == removed for process in processes):
            await asyncio.sleep(0.01)
    served, refused = load.served, len(load.refused)
    async with asyncio.timeout(10):
        while load.served < served + 200:
            await asyncio.sleep(0.01)
    assert set(load.refused) <= {removed}
    assert len(load.refused) == refused
