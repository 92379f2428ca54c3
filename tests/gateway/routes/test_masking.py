"""Personal data over HTTP: what a hosted model reads, what callers do, what sessions keep."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from aiohttp import web
from gateway_support import Service, client_of, replica_of
from upstream_support import DONE, STOP, Upstream, json_answer

PHONE, EMAIL = "010-1234-5678", "hong@example.com"
QUESTION = "연차 휴가는 며칠인가요?"
MASKING = {
    "egress": {"phone": "pseudonym", "email": "pseudonym", "card": "block"},
    "answer": {"bank_account": "mask"},
    "storage": {"email": "mask", "bank_account": "allow"},
    "agents": {"clever": {"egress": {"business_number": "mask"}}},
}
_PSEUDONYM = re.compile("PII_[A-Z]+_[A-Z]{14}")
ACCOUNT = "계좌 110-123-456789"


@pytest.fixture(scope="module")
async def masked(
    service: Service, sockets: Path, data_dir: Path, redis_url: str, upstream: Upstream
) -> AsyncIterator[Service]:
    settings = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "masking": MASKING,
        "providers": {"fake": {"base_url": upstream.url, "api_key": "sk-upstream"}},
        "models": {"smart": ["fake/gpt-x"]},
    }
    async with replica_of(service, sockets, settings) as opened:
        yield opened


@pytest.fixture
async def app(masked: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(masked, masked.key) as client:
        yield client


@pytest.fixture
def echo(upstream: Upstream) -> Iterator[Upstream]:
    """The upstream says the pseudonyms it read, and a bank account, three characters at a time."""
    before, upstream.asked[:] = upstream.answer, []

    async def answer(_: web.Request) -> web.StreamResponse:
        asked = msgspec.convert(upstream.asked[-1], dict)
        read = _PSEUDONYM.findall(msgspec.json.encode(asked["messages"]).decode())
        said = " ".join([*dict.fromkeys(read), f"{ACCOUNT}."])
        if not asked.get("stream"):
            choice = {"message": {"content": said}, "finish_reason": "stop"}
            return await json_answer(msgspec.json.encode({"choices": [choice]}))
        parts = [said[i : i + 3] for i in range(0, len(said), 3)]
        chunks = [msgspec.json.encode({"choices": [{"delta": {"content": p}}]}) for p in parts]
        body = b"".join(b"data: " + chunk + b"\n\n" for chunk in chunks) + STOP + DONE
        return web.Response(body=body, content_type="text/event-stream")

    upstream.answer = answer
    yield upstream
    upstream.answer = before


def _sent(upstream: Upstream) -> str:
    return msgspec.json.encode(upstream.asked).decode()


def _check_sent(upstream: Upstream) -> None:
    assert "PII_PHONE_" in _sent(upstream)
    assert PHONE not in _sent(upstream)
    assert EMAIL not in _sent(upstream)


@pytest.mark.parametrize("stream", [False, True])
async def test_chat(app: httpx.AsyncClient, echo: Upstream, *, stream: bool) -> None:
    messages = [{"role": "user", "content": f"{EMAIL} {PHONE}"}]
    body = {"model": "smart", "messages": messages, "user": EMAIL, "stream": stream}
    answer = await app.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    _check_sent(echo)
    if stream:
        frames = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
        chunks = [msgspec.json.decode(frame) for frame in frames if frame != "[DONE]"]
        said = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
    else:
        said = answer.json()["choices"][0]["message"]["content"]
    assert said == f"{EMAIL} {PHONE} 계좌 [ACCOUNT]."


async def test_what_is_blocked(app: httpx.AsyncClient, echo: Upstream) -> None:
    messages = [{"role": "user", "content": "카드 4111 1111 1111 1111"}]
    for model in ("smart", "fake/other"):
        body = {"model": model, "messages": messages}
        answer = await app.post("/v1/chat/completions", json=body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert (error["code"], error["param"]) == ("pii_blocked", "messages[0].content")
        assert "4111" not in answer.text
    assert echo.asked == []


async def test_responses(app: httpx.AsyncClient, echo: Upstream) -> None:
    body = {"model": "smart", "input": f"{EMAIL} {PHONE}", "store": False}
    answer = await app.post("/v1/responses", json=body)
    assert answer.status_code == 200
    _check_sent(echo)
    said = answer.json()["output"][0]["content"][0]["text"]
    assert said == f"{EMAIL} {PHONE} 계좌 [ACCOUNT]."


@pytest.mark.parametrize("stream", [False, True])
async def test_an_agents_turn(app: httpx.AsyncClient, echo: Upstream, *, stream: bool) -> None:
    session = f"masked-{stream}"
    messages = [
        {"role": "system", "content": f"인사팀: {PHONE}, {EMAIL}, 104-86-39742"},
        {"role": "user", "content": QUESTION},
    ]
    body = {"model": "clever", "messages": messages, "session_id": session, "stream": stream}
    answer = await app.post("/v1/agents/clever/chat/completions", json=body)
    assert answer.status_code == 200
    _check_sent(echo)
    assert "[BUSINESS]" in _sent(echo)
    assert answer.text.count("[ACCOUNT]") == 1
    assert "110-123-456789" not in answer.text
    kept = (await app.get(f"/v1/sessions/{session}/messages")).text
    assert PHONE in kept
    assert "[EMAIL]" in kept
    assert EMAIL not in kept
    assert "[ACCOUNT]" not in kept
