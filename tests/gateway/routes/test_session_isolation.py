"""Whatever an id looks like, it names the caller's own session or none: every kind of caller, every
operation, every id that could be taken for another one.
"""

import unicodedata
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from gateway_support import Service, client_of

CHAT = "/v1/agents/hr/chat"
ASKED = "병가는 며칠인가요?"

IDS = [
    "plain",
    "a:b",
    "a/b",
    "a%2fb",
    "a%2Fb",
    "/a",
    "a/",
    "/",
    "//",
    "a//b",
    "..",
    "../other",
    "a/../b",
    ".",
    "messages",
    "x/messages",
    "x/messages/y/stream",
    "a?b",
    "a#b",
    "a&b=c",
    "a b",
    "a+b",
    "acme:app::plain",
    "app/anna/plain",
    '["acme","app","","plain"]',
    "раура",
    "paypа",
    unicodedata.normalize("NFC", "é한"),
    unicodedata.normalize("NFD", "é한"),
    "ＡＢＣ",
    "ABC",
    "abc",
    "'; DROP TABLE sessions; --",
    "%",
    "%00",
    "\\",
    "null",
    "가" * 256,
]
"""Each is another session than every other one."""

REFUSED = ["", "\0", "a\0b", "a\nb", "\x01", "a\x01b", "\u200b", "\u2028", "x" * 257, "\ud800"]
"""What no session can be called."""


@dataclass(frozen=True)
class Who:
    """A caller: a client's key, and for whom it acts."""

    client: str
    end_user: str = ""


CALLERS = [
    Who("key"),
    Who("key", "anna"),
    Who("key", "bora"),
    Who("key", "anna:plain"),
    Who("key", "app/anna"),
    Who("colleague_key"),
    Who("colleague_key", "anna"),
    Who("stranger_key"),
    Who("stranger_key", "anna"),
]


@pytest.fixture
async def callers(service: Service) -> AsyncIterator[dict[Who, httpx.AsyncClient]]:
    opened = {}
    for who in CALLERS:
        client = client_of(service, getattr(service, who.client))
        if who.end_user:
            client.headers["x-naru-end-user"] = who.end_user
        opened[who] = client
    yield opened
    for client in opened.values():
        for session in (await client.get("/v1/sessions", params={"limit": 100})).json()["data"]:
            await client.delete(path_of(session["id"]))
        await client.aclose()


def path_of(session_id: str, rest: str = "") -> str:
    # httpx would take dots away, and a proxy may.
    name = quote(session_id, safe="").replace(".", "%2E")
    return f"/v1/sessions/{name}{rest}"


async def write(client: httpx.AsyncClient, session_id: str, text: str) -> None:
    """Put a message into a session, without an agent where the caller has none."""
    body = {"message": text, "session_id": session_id}
    answer = await client.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text


async def said(client: httpx.AsyncClient, session_id: str) -> list[str]:
    answer = await client.get(path_of(session_id, "/messages"))
    if answer.status_code == 404:
        return []
    return [m["content"] for m in answer.json()["data"] if m["role"] == "user"]


@pytest.fixture
async def newcomer(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A caller for whom there is no session yet, whatever tests ran before."""
    async with client_of(service, service.key) as client:
        client.headers["x-naru-end-user"] = uuid.uuid4().hex
        yield client


async def test_every_id_is_a_session_of_its_own_and_can_be_addressed(
    newcomer: httpx.AsyncClient,
) -> None:
    client = newcomer
    for number, session_id in enumerate(IDS):
        await write(client, session_id, f"{ASKED} {number}")
    for number, session_id in enumerate(IDS):
        assert (await client.get(path_of(session_id))).json()["id"] == session_id
        assert await said(client, session_id) == [f"{ASKED} {number}"], session_id
    listed = (await client.get("/v1/sessions", params={"limit": 100})).json()["data"]
    assert sorted(session["id"] for session in listed) == sorted(IDS)
    for number, session_id in enumerate(IDS):
        assert (await client.delete(path_of(session_id))).status_code == 204, session_id
        assert (await client.get(path_of(session_id))).status_code == 404
        left = (await client.get("/v1/sessions", params={"limit": 100})).json()["data"]
        assert len(left) == len(IDS) - number - 1


@pytest.mark.parametrize("session_id", REFUSED)
async def test_what_no_session_can_be_called(
    callers: dict[Who, httpx.AsyncClient], session_id: str
) -> None:
    client = callers[Who("key")]
    body = f'{{"message": "{ASKED}", "session_id": "{_escaped(session_id)}"}}'
    answer = await client.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    if session_id:
        raw = session_id.encode(errors="surrogatepass")
        answer = await client.get(f"/v1/sessions/{quote(raw, safe='')}")
        assert answer.status_code == 404, answer.text


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


async def test_each_caller_reads_its_own_alone(callers: dict[Who, httpx.AsyncClient]) -> None:
    """Tenant x client x end user x operation, with the same id for all of them."""
    writers = [who for who in CALLERS if who.client != "stranger_key"]
    for session_id in ("shared", "a:b/c%2f"):
        for who in writers:
            await write(callers[who], session_id, f"{ASKED} {who}")
        for who in CALLERS:
            own = [f"{ASKED} {who}"] if who in writers else []
            assert await said(callers[who], session_id) == own
            names = [s["id"] for s in (await callers[who].get("/v1/sessions")).json()["data"]]
            assert names.count(session_id) == len(own)


OPERATIONS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "", None),
    ("GET", "/messages", None),
    ("GET", "/messages/{message}", None),
    ("GET", "/messages/{message}/stream", None),
    ("POST", "/fork", {}),
    ("POST", "/fork", {"message_id": "{message}"}),
    ("DELETE", "", None),
]


@pytest.mark.parametrize("session_id", ["only-annas", "anna/only"])
async def test_no_operation_reaches_anothers(
    callers: dict[Who, httpx.AsyncClient], session_id: str
) -> None:
    owner = Who("key", "anna")
    body = {"message": ASKED, "session_id": session_id, "stream": True, "resumable": True}
    assert (await callers[owner].post(CHAT, json=body)).status_code == 200
    messages = (await callers[owner].get(path_of(session_id, "/messages"))).json()["data"]
    message = messages[-1]["id"]
    others = [who for who in CALLERS if who != owner]
    for who in others:
        for method, rest, given in OPERATIONS:
            sent = given and dict.fromkeys(given, message)
            for name in (session_id, f"anna:{session_id}", f"acme/app/anna/{session_id}"):
                path = path_of(name, rest.format(message=message))
                answer = await callers[who].request(method, path, json=sent)
                assert answer.status_code == 404, (who, method, path)
        # Not by way of a session of one's own either.
        if who.client != "stranger_key":
            await write(callers[who], "mine", ASKED)
            for rest in ("/messages/{message}", "/messages/{message}/stream"):
                path = path_of("mine", rest.format(message=message))
                assert (await callers[who].get(path)).status_code == 404
            answer = await callers[who].post(path_of("mine", "/fork"), json={"message_id": message})
            assert answer.status_code == 404
    assert await said(callers[owner], session_id) == [ASKED]


async def test_a_key_or_an_event_of_anothers_brings_nothing(
    callers: dict[Who, httpx.AsyncClient],
) -> None:
    owner = Who("key", "anna")
    body = {"message": ASKED, "session_id": "keyed", "stream": True, "resumable": True}
    key = {"idempotency-key": "the same for all"}
    first = await callers[owner].post(CHAT, json=body, headers=key)
    event_id = first.text.split("\n")[0].removeprefix("id: ")
    for who in CALLERS:
        if who == owner or who.client == "stranger_key":
            continue
        answer = await callers[who].post(CHAT, json=body, headers=key)
        assert "idempotent-replayed" not in answer.headers
        assert answer.text != first.text
        answer = await callers[who].post(CHAT, json=body, headers={"last-event-id": event_id})
        assert answer.status_code == 404
