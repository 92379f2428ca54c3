"""How often, and how carefully, a foreign issuer's keys are asked for."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from issuer_support import Issuer, play_issuer
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from auth import jwks
from auth.jwks import IssuerKeys, IssuerUnavailable
from config.postgres import UNREACHABLE


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(jwks, "monotonic", moved)
    return moved


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with play_issuer() as playing:
        yield playing


@pytest.fixture
async def keys(issuer: Issuer, clock: Clock) -> AsyncIterator[IssuerKeys]:
    async with aiohttp.ClientSession() as http:
        yield IssuerKeys(issuer.url, http)


def fail(issuer: Issuer, status: int = 500) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    issuer.answers["openid-configuration"] = answer


async def test_keys_are_fetched_once_and_again_after_ten_minutes(
    keys: IssuerKeys, issuer: Issuer, clock: Clock
) -> None:
    for _ in range(3):
        assert await keys.find("k1")
    assert issuer.asked == {"openid-configuration": 1, "keys": 1}
    clock.now += jwks.FRESH_S - 1
    await keys.find("k1")
    assert issuer.asked["keys"] == 1
    clock.now += 1
    await keys.find("k1")
    assert issuer.asked["keys"] == 2


async def test_a_rotated_key_is_found_at_once(
    keys: IssuerKeys, issuer: Issuer, clock: Clock
) -> None:
    await keys.find("k1")
    clock.now += jwks.REFRESH_S
    issuer.rotate("k2")
    assert await keys.find("k2")
    assert await keys.find("k1") is None


async def test_a_storm_of_unknown_keys_asks_once_in_30_seconds(
    keys: IssuerKeys, issuer: Issuer, clock: Clock
) -> None:
    for second in range(61):
        found = await asyncio.gather(*(keys.find(f"unknown-{n}") for n in range(20)))
        assert found == [None] * 20
        assert issuer.asked["keys"] == 1 + second // 30
        clock.now += 1


async def test_without_the_issuer_its_last_keys_count_for_an_hour(
    keys: IssuerKeys, issuer: Issuer, clock: Clock
) -> None:
    await keys.find("k1")
    fail(issuer)
    clock.now += jwks.KEEP_S - 1
    assert await keys.find("k1")
    clock.now += 1
    with pytest.raises(IssuerUnavailable):
        await keys.find("k1")
    issuer.answers.clear()
    clock.now += 60
    assert await keys.find("k1")


async def test_a_new_key_is_not_called_wrong_while_the_issuer_is_away(
    keys: IssuerKeys, issuer: Issuer, clock: Clock
) -> None:
    await keys.find("k1")
    fail(issuer)
    clock.now += jwks.REFRESH_S
    with pytest.raises(IssuerUnavailable):
        await keys.find("k2")
    assert await keys.find("k1")


async def test_an_issuer_that_fails_is_asked_ever_more_seldom(
    keys: IssuerKeys, issuer: Issuer, clock: Clock
) -> None:
    fail(issuer)
    asked = []
    for second in range(200):
        with pytest.raises(UNREACHABLE):
            await keys.find("k1")
        if issuer.asked.total() > len(asked):
            asked.append(second)
        clock.now += 1
    assert asked == [0, 1, 3, 7, 15, 31, 63, 123, 183]


async def test_an_issuer_that_hangs_is_given_up_and_holds_up_nobody_who_has_a_key(
    keys: IssuerKeys, issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    await keys.find("k1")
    issuer.answers["keys"] = hang
    clock.now += jwks.FRESH_S
    refreshing = asyncio.create_task(keys.find("k1"))
    while issuer.asked["keys"] < 2:
        await asyncio.sleep(0)
    assert await asyncio.wait_for(keys.find("k1"), 1)
    assert not refreshing.done()
    refreshing.cancel()
    monkeypatch.setattr(jwks, "_FETCH_S", 0.1)
    with pytest.raises(IssuerUnavailable):
        await keys.find("k2")


@pytest.mark.parametrize("status", [204, 301, 302, 307, 404, 500])
async def test_only_a_plain_answer_counts(keys: IssuerKeys, issuer: Issuer, status: int) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "/keys"})

    issuer.answers["openid-configuration"] = answer
    with pytest.raises(IssuerUnavailable):
        await keys.find("k1")
    assert issuer.asked == {"openid-configuration": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example"},
        {"issuer": None},
        {"jwks_uri": "http://keys.example/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "keys"},
        {"jwks_uri": "https://"},
        {"jwks_uri": 7},
    ],
)
async def test_a_discovery_document_must_be_the_issuers_and_name_a_safe_address(
    keys: IssuerKeys, issuer: Issuer, changes: dict[str, object]
) -> None:
    issuer.discovery |= changes
    with pytest.raises(IssuerUnavailable):
        await keys.find("k1")
    assert issuer.asked["keys"] == 0


async def test_an_issuer_may_end_with_a_slash(clock: Clock) -> None:
    async with play_issuer("/") as issuer, aiohttp.ClientSession() as http:
        assert await IssuerKeys(issuer.url, http).find("k1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": ["k1"]}',
        b'{"keys": ' + b"[" * 100_000,
        b'{"keys": [' + b",".join([b"{}"] * 101) + b"]}",
        b'{"keys": [], "padding": "' + b"a" * 262_144 + b'"}',
    ],
    ids=range(9),
)
async def test_key_sets_that_are_none_or_too_large_are_refused(
    keys: IssuerKeys, issuer: Issuer, body: bytes
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    issuer.answers["keys"] = answer
    with pytest.raises(IssuerUnavailable):
        await keys.find("k1")


async def test_an_endless_key_set_is_given_up(keys: IssuerKeys, issuer: Issuer) -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"[" * 65_536)
            sent += 65_536

    issuer.answers["keys"] = answer
    with pytest.raises(IssuerUnavailable):
        await keys.find("k1")
    assert sent < 10_000_000


async def test_keys_that_are_not_for_signatures_are_left_out(
    keys: IssuerKeys, issuer: Issuer
) -> None:
    def publish(key: ECKey | RSAKey | OKPKey | OctKey, kid: object, **members: object) -> None:
        issuer.published.append(
            {**key.as_dict(private=isinstance(key, OctKey)), "kid": kid} | members
        )

    elliptic = ECKey.generate_key("P-256")
    publish(elliptic, "enc", use="enc")
    publish(elliptic, "ops", key_ops=["encrypt"])
    publish(elliptic, None)
    publish(OctKey.generate_key(256), "oct")
    publish(OKPKey.generate_key("X25519"), "agreement")
    issuer.published.append(dict(elliptic.as_dict(private=True)) | {"kid": "private"})
    issuer.published.append({"kty": "AKP", "kid": "unknown kind"})
    publish(RSAKey.generate_key(2048), "rsa", x5c=["…"], x5t="…", use="sig")
    kids = ("enc", "ops", "oct", "agreement", "private", "unknown kind")
    assert [await keys.find(kid) for kid in kids] == [None] * len(kids)
    assert await keys.find("k1")
    assert await keys.find("rsa")
