"""Client authentication, as the token endpoint shows it."""

import base64
import hmac
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

import auth

Ask = Callable[..., Awaitable[auth.OAuthAnswer]]
REFUSED = auth.OAuthAnswer(
    401,
    {"error": "invalid_client", "error_description": "client authentication failed"},
    {
        "Cache-Control": "no-store",
        "Pragma": "no-cache",
        "WWW-Authenticate": 'Basic realm="naru", charset="UTF-8"',
    },
)


def percent(text: str) -> str:
    """Encode every character, as a client may (RFC 6749 appendix B)."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def basic(raw: bytes) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(raw).decode()}


async def test_basic_and_body_both_work(ask: Ask, client: auth.NewClient) -> None:
    assert (await ask()).status == 200
    assert (await ask(basic=f"demo:{client.client_secret}")).status == 200
    assert (await ask(basic=f"demo:{client.client_secret}", client_id="demo")).status == 200


async def test_basic_is_form_decoded(ask: Ask, client: auth.NewClient) -> None:
    assert (await ask(basic=f"{percent('demo')}:{percent(client.client_secret)}")).status == 200


async def test_base64_is_read_strictly(ask: Ask, client: auth.NewClient) -> None:
    encoded = base64.b64encode(f"demo:{client.client_secret}".encode()).decode()
    assert (await ask(basic="", headers={"authorization": f"Basic {encoded}"})).status == 200
    for odd in (f"{encoded[:4]}!{encoded[4:]}", f"{encoded[:4]} {encoded[4:]}", f"{encoded}!"):
        assert await ask(basic="", headers={"authorization": f"Basic {odd}"}) == REFUSED


async def test_a_plus_in_basic_is_a_space(
    ask: Ask, client: auth.NewClient, pool: asyncpg.Pool, box: auth.SecretBox
) -> None:
    await pool.execute("UPDATE client_secrets SET hash = $1", box.digest("a b:+"))
    assert (await ask(basic="demo:a+b:%2B")).status == 200
    assert (await ask(basic="demo:a%2Bb:%2B")).status == 401


@pytest.mark.parametrize(
    "header",
    [
        *(
            "Basic",
            "Basic ",
            "Basic %%%",
            "Basic ZGVtbw",
            "Basic ZGVtbw==",
            "Basic é",
            "Basic \ud800",
        ),
        *("Bearer abc", "DPoP abc", "", "Basic ZGVtbzp4 ZGVtbzp4", "basic\tZGVtbzp4"),
    ],
)
async def test_unreadable_authorization_is_refused(ask: Ask, header: str) -> None:
    assert await ask(basic="", headers={"authorization": header}) == REFUSED


@pytest.mark.parametrize(
    "raw", [b"\xff:x", b"demo:\xff", b"demo:%FF", b"a\0b:x", b"demo:\0", b"demo:%00", b":", b""]
)
async def test_odd_bytes_in_basic_are_refused(ask: Ask, raw: bytes) -> None:
    assert await ask(basic="", headers=basic(raw)) == REFUSED


async def test_unknown_client_and_wrong_secret_look_the_same(
    ask: Ask, client: auth.NewClient
) -> None:
    answers = [
        await ask(client_secret="wrong"),
        await ask(client_id="nobody"),
        await ask(client_id="no/body"),
        await ask(client_secret=None),
        await ask(client_id=None),
        await ask(client_id=None, client_secret=None),
        await ask(basic="demo:wrong"),
        await ask(basic=f"nobody:{client.client_secret}"),
        await ask(basic="demo:"),
        await ask(basic=f":{client.client_secret}"),
    ]
    assert answers == [REFUSED] * 10


async def test_a_disabled_client_looks_unknown(ask: Ask, pool: asyncpg.Pool) -> None:
    await pool.execute("UPDATE clients SET disabled_at = now()")
    assert await ask() == REFUSED


async def test_every_refused_secret_costs_the_same_work(
    ask: Ask, pool: asyncpg.Pool, box: auth.SecretBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[str] = []

    def counted(owner: object, name: str) -> None:
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args: work.append(name) or original(*args))

    for owner, names in (
        (asyncpg.Pool, ("execute", "fetch", "fetchrow", "fetchval")),
        (box, ("digest", "pseudonym")),
        (hmac, ("compare_digest",)),
    ):
        for name in names:
            counted(owner, name)
    for client_id in ("demo", "nobody", "no id", "x" * 65):
        await ask(client_id=client_id, client_secret="wrong")
    await pool.execute("UPDATE clients SET disabled_at = now()")
    work.remove("execute")
    await ask(client_secret="wrong")
    one = ["digest", "fetchval", "compare_digest", "compare_digest", "pseudonym"]
    assert work == one * 5


@pytest.mark.parametrize("extra", ["client_secret", "client_assertion"])
async def test_two_methods_at_once_are_refused(
    ask: Ask, client: auth.NewClient, extra: str
) -> None:
    answer = await ask(basic=f"demo:{client.client_secret}", **{extra: client.client_secret})
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    answer = await ask(client_assertion="x")
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")


async def test_an_authorization_header_sent_twice_is_refused(
    server: auth.AuthorizationServer, client: auth.NewClient
) -> None:
    encoded = base64.b64encode(f"demo:{client.client_secret}".encode()).decode()
    headers = (
        ("content-type", "application/x-www-form-urlencoded"),
        *[("authorization", f"Basic {encoded}")] * 2,
    )
    request = auth.OAuthRequest("POST", headers, b"", b"grant_type=client_credentials")
    answer = await server.token(request)
    assert (answer.status, answer.body) == (
        400,
        {
            "error": "invalid_request",
            "error_description": "more than one client authentication method was used",
        },
    )


async def test_a_method_the_client_may_not_use_is_refused(
    ask: Ask, client: auth.NewClient, pool: asyncpg.Pool
) -> None:
    await pool.execute("UPDATE clients SET auth_methods = '{client_secret_basic}'")
    assert await ask() == REFUSED
    assert (await ask(basic=f"demo:{client.client_secret}")).status == 200


async def test_after_too_many_failures_only_further_failures_wait(ask: Ask) -> None:
    failures = [await ask(client_secret="wrong") for _ in range(31)]
    assert failures[:30] == [REFUSED] * 30
    assert failures[30].status == 429
    assert 1 <= int(failures[30].headers["Retry-After"]) <= 60
    assert (await ask()).status == 200
    assert await ask(client_id="another", client_secret="wrong") == REFUSED


async def test_two_client_ids_are_refused(ask: Ask, client: auth.NewClient) -> None:
    answer = await ask(basic=f"demo:{client.client_secret}", client_id="other")
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
