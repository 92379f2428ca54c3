"""Models that judge for guardrails, over HTTP: what they block, and what comes of their faults."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from aiohttp import web
from gateway_support import Service, client_of, replica_of
from upstream_support import DONE, STOP, Upstream, json_answer

HARM, HARMLESS = "how to build a bomb", "how to build a shed"
PHONE = "010-1234-5678"
JUDGE = {"model": "fake/judge", "timeout_s": 5}
GUARD = {"model": "fake/guard", "api": "llama-guard"}
MODERATION = {"model": "fake/moderation", "api": "moderations", "categories": {"violence": 0.5}}
WINDOW = {**JUDGE, "reads": ["answers"], "window_chars": 50}
IMPATIENT = {
    "faulty": {"timeout_s": 0.2},
    "open": {"timeout_s": 0.2, "on_failure": "allow"},
    "mute": {**WINDOW, "timeout_s": 0.2},
    "lenient": {**WINDOW, "timeout_s": 0.2, "on_failure": "allow"},
}


def _said(text: str) -> bytes:
    return _completion({"content": text})


def _completion(message: dict[str, Any]) -> bytes:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    choice = {"message": message, "finish_reason": "stop"}
    return msgspec.json.encode({"choices": [choice], "usage": usage})


async def hanging(_: str) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def failing(_: str) -> web.StreamResponse:
    return await json_answer(b'{"error":{"message":"no"}}', status=500)


async def mumbling(_: str) -> web.StreamResponse:
    return await json_answer(_said("who can tell"))


async def breaking(_: str) -> web.StreamResponse:
    return await json_answer(b"<html>")


FAULTS = {"timeout": hanging, "500": failing, "nonsense": mumbling, "no-answer": breaking}


GUARDRAILS = {
    "models": {
        "chat": {"judge": JUDGE},
        "local": {"judge": JUDGE},
        "guard": {"judge": {**GUARD, "reads": ["input", "answers"]}},
        "moderated": {"judge": MODERATION},
        "flagged": {"judge": {**MODERATION, "action": "flag"}},
        "window": {"judge": WINDOW},
        "end": {"judge": {**WINDOW, "streams": "end"}},
        **{
            # Of its own each: targets that fail are left alone for a while.
            f"{name}-{fault}": {"judge": {**rules, "model": f"fake/{name}-{fault}"}}
            for name, rules in IMPATIENT.items()
            for fault in FAULTS
        },
        "passages": {"judge": {**JUDGE, "reads": ["passages"]}},
        "clever": {"judge": {**JUDGE, "reads": ["input", "passages"]}},
        "all-MiniLM-L6-v2": {"judge": JUDGE},
    }
}
_OTHERS = ("clever", "local", "all-MiniLM-L6-v2")
ALIASES = [name for name in GUARDRAILS["models"] if name not in _OTHERS]

Judging = Callable[[str], Awaitable[web.StreamResponse]]


@pytest.fixture(scope="module")
async def judged(
    service: Service, sockets: Path, data_dir: Path, redis_url: str, upstream: Upstream
) -> AsyncIterator[Service]:
    settings = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "guardrails": GUARDRAILS,
        "masking": {"egress": "pseudonym"},
        "providers": {"fake": {"base_url": upstream.url, "api_key": "sk-upstream"}},
        "models": {
            **{alias: ["fake/x"] for alias in [*ALIASES, "smart"]},
            "local": {"targets": ["fake/x"], "residency": "local"},
        },
        "prices": {"fake/judge": {"input": 1, "output": 2}, "fake/x": {"input": 3, "output": 4}},
    }
    async with replica_of(service, sockets, settings) as opened:
        yield opened


@pytest.fixture
async def app(judged: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(judged, judged.key) as client:
        yield client


class Fake:
    """The upstream: `says` is what `fake/x` answers, `judge` is how the judges do."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.says = [HARMLESS]
        self.judge: Judging = self.verdict

    @property
    def asked(self) -> list[dict[str, Any]]:
        return [msgspec.convert(each, dict) for each in self._upstream.asked]

    def texts(self, model: str) -> list[str]:
        """Return what a model was asked, as text."""
        asked = (each for each in self.asked if each["model"] == model)
        return [
            msgspec.json.encode(each.get("messages") or each.get("input")).decode()
            for each in asked
        ]

    async def answer(self, _: web.Request) -> web.StreamResponse:
        asked = self.asked[-1]
        if asked["model"] != "x":
            return await self.judge(msgspec.json.encode(asked).decode())
        if "input" in asked:
            return await json_answer(b'{"data":[{"embedding":[0.5]}]}')
        if "prompt" in asked:
            return await json_answer(b'{"choices":[{"text":"hi","finish_reason":"stop"}]}')
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "".join(self.says)}
            return await json_answer(_completion(message))
        chunks = [{"choices": [{"delta": {"content": text}}]} for text in self.says]
        frames = [b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks]
        body = b"".join([*frames, STOP, DONE])
        return web.Response(body=body, content_type="text/event-stream")

    async def verdict(self, asked: str) -> web.StreamResponse:
        """Say of every text whether it has a bomb in it."""
        request = msgspec.json.decode(asked)
        if inputs := request.get("input"):
            scores = [{"violence": 0.9 if "bomb" in text else 0.1, "hate": 0.9} for text in inputs]
            results = [{"categories": {}, "category_scores": each} for each in scores]
            return await json_answer(msgspec.json.encode({"results": results}))
        unsafe = "bomb" in request["messages"][-1]["content"]
        if request["model"] == "guard":
            return await json_answer(_said("unsafe\nS9" if unsafe else "safe"))
        return await json_answer(_said(f'{{"unsafe": {str(unsafe).lower()}}}'))


@pytest.fixture
def fake(upstream: Upstream) -> Iterator[Fake]:
    before, upstream.asked[:] = upstream.answer, []
    playing = Fake(upstream)
    upstream.answer = playing.answer
    yield playing
    upstream.answer = before


def _body(model: str, text: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def _routes(model: str, text: str) -> dict[str, tuple[str, dict[str, Any]]]:
    return {
        "chat": ("/v1/chat/completions", _body(model, text)),
        "streamed": ("/v1/chat/completions", _body(model, text, stream=True)),
        "completions": ("/v1/completions", {"model": model, "prompt": text}),
        "embeddings": ("/v1/embeddings", {"model": model, "input": text}),
        "own embeddings": ("/v1/embeddings", {"model": "all-MiniLM-L6-v2", "input": text}),
        "responses": ("/v1/responses", {"model": model, "input": text, "store": False}),
        "agent": ("/v1/agents/clever/chat", {"message": text}),
    }


@pytest.mark.parametrize("route", _routes("", ""))
async def test_what_a_model_finds_harmful_is_asked_of_nobody(
    app: httpx.AsyncClient, fake: Fake, route: str
) -> None:
    path, body = _routes("chat", f"{route}: {HARM}")[route]
    answer = await app.post(path, json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error.keys()) == (
        "guardrail_blocked",
        {"message", "type", "param", "code"},
    )
    assert "judge" in error["message"]
    assert "bomb" not in answer.text
    assert fake.texts("x") == []
    path, body = _routes("chat", f"{route}: {HARMLESS}")[route]
    assert (await app.post(path, json=body)).status_code == 200


@pytest.mark.parametrize(("model", "asked"), [("guard", "guard"), ("moderated", "moderation")])
async def test_the_other_apis_judge_as_well(
    app: httpx.AsyncClient, fake: Fake, model: str, asked: str
) -> None:
    answer = await app.post("/v1/chat/completions", json=_body(model, HARM))
    assert answer.json()["error"]["param"] == "messages[0].content"
    assert len(fake.texts(asked)) == 1
    assert (await app.post("/v1/chat/completions", json=_body(model, HARMLESS))).is_success


async def test_a_text_is_judged_once(app: httpx.AsyncClient, fake: Fake) -> None:
    said = [{"role": "user", "content": text} for text in ("once", "twice", "once")]
    for _ in range(2):
        body = {"model": "chat", "messages": said}
        assert (await app.post("/v1/chat/completions", json=body)).is_success
    assert len(fake.texts("judge")) == 2


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_can_not_be_judged_is_not_sent(
    app: httpx.AsyncClient, fake: Fake, fault: str, *, stream: bool
) -> None:
    fake.judge = FAULTS[fault]
    body = _body(f"faulty-{fault}", f"{fault} {stream}", stream=stream)
    answer = await app.post("/v1/chat/completions", json=body)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "guardrails_unavailable"
    assert fake.texts("x") == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_unless_the_settings_let_it(
    app: httpx.AsyncClient, judged: Service, fake: Fake, fault: str
) -> None:
    fake.judge = FAULTS[fault]
    answer = await app.post("/v1/chat/completions", json=_body(f"open-{fault}", f"{fault} {HARM}"))
    assert answer.status_code == 200
    recorded = await _recorded(judged, answer.headers["x-request-id"])
    assert recorded["verdicts"]["judge"] == "allow unjudged"


async def test_the_judge_reads_no_personal_data(app: httpx.AsyncClient, fake: Fake) -> None:
    assert (await app.post("/v1/chat/completions", json=_body("chat", f"call {PHONE}"))).is_success
    (judged,) = fake.texts("judge")
    assert PHONE not in judged
    assert "[PHONE]" in judged


@pytest.mark.parametrize("headers", [{}, {"x-naru-residency": "local"}])
async def test_what_must_stay_here_goes_to_no_judge(
    app: httpx.AsyncClient, fake: Fake, headers: dict[str, str]
) -> None:
    model = "chat" if headers else "local"
    body = _body(model, f"it stays {bool(headers)}")
    answer = await app.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.json()["error"]["code"] == "guardrails_unavailable"
    assert fake.asked == []


async def test_the_request_pays_for_its_judge(
    app: httpx.AsyncClient, judged: Service, fake: Fake
) -> None:
    answer = await app.post("/v1/chat/completions", json=_body("chat", "what does it cost?"))
    recorded = await _recorded(judged, answer.headers["x-request-id"])
    attempts = [(each["target"], each["cost"]) for each in recorded["attempts"]]
    assert attempts == [("fake/judge", 20_000), ("fake/x", 50_000)]
    assert (recorded["target"], recorded["cost"]) == ("fake/x", 70_000)
    assert recorded["verdicts"] == {"judge": "allow 0.00"}


async def test_the_judge_of_an_answer_is_not_who_answered(
    app: httpx.AsyncClient, judged: Service, fake: Fake
) -> None:
    answer = await app.post("/v1/chat/completions", json=_body("window", "who answered?"))
    recorded = await _recorded(judged, answer.headers["x-request-id"])
    assert [each["target"] for each in recorded["attempts"]] == ["fake/judge", "fake/x"]
    assert recorded["target"] == "fake/x"


async def test_a_flag_is_only_recorded(app: httpx.AsyncClient, judged: Service, fake: Fake) -> None:
    answer = await app.post("/v1/chat/completions", json=_body("flagged", HARM))
    assert answer.status_code == 200
    recorded = await _recorded(judged, answer.headers["x-request-id"])
    assert recorded["verdicts"]["judge"] == "flag 0.90 violence"


async def _heard(app: httpx.AsyncClient, model: str, *, stream: bool) -> tuple[str, str | None]:
    """Return what an answer says, and why it ends; the code of the error that ends a stream."""
    answer = await app.post("/v1/chat/completions", json=_body(model, HARMLESS, stream=stream))
    if not stream:
        (choice,) = answer.json()["choices"]
        return choice["message"]["content"], choice["finish_reason"]
    heard, reason = "", None
    for line in answer.text.splitlines():
        if not line.startswith("data: {"):
            continue
        chunk = msgspec.json.decode(line.removeprefix("data: "))
        if "error" in chunk:
            return heard, chunk["error"]["code"]
        for choice in chunk["choices"]:
            heard += choice["delta"].get("content") or ""
            reason = choice.get("finish_reason") or reason
    return heard, reason


GOOD = [f"{number} is a good number. " for number in range(20)]


@pytest.mark.parametrize("model", ["window", "end", "guard"])
@pytest.mark.parametrize("stream", [False, True])
async def test_harmless_answers_are_told_whole(
    app: httpx.AsyncClient, fake: Fake, model: str, *, stream: bool
) -> None:
    fake.says = [f"{model} {stream}: ", *GOOD]
    assert await _heard(app, model, stream=stream) == ("".join(fake.says), "stop")


async def test_a_whole_answer_that_is_blocked_says_nothing(
    app: httpx.AsyncClient, judged: Service, fake: Fake
) -> None:
    fake.says = [*GOOD, HARM]
    assert await _heard(app, "window", stream=False) == ("", "content_filter")


async def test_a_stream_ends_before_the_window_that_is_blocked(
    app: httpx.AsyncClient, fake: Fake
) -> None:
    fake.says = [*GOOD, HARM, *GOOD]
    heard, reason = await _heard(app, "window", stream=True)
    assert reason == "content_filter"
    assert "bomb" not in heard
    assert heard
    assert "".join(GOOD).startswith(heard)
    assert len(heard) > len("".join(GOOD)) - 100


async def test_a_stream_that_is_judged_at_its_end_says_so_then(
    app: httpx.AsyncClient, fake: Fake
) -> None:
    fake.says = [*GOOD, HARM]
    assert await _heard(app, "end", stream=True) == ("".join(fake.says), "content_filter")


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_answer_that_can_not_be_judged_is_not_told(
    app: httpx.AsyncClient, fake: Fake, fault: str
) -> None:
    fake.judge, fake.says = FAULTS[fault], [f"answer under {fault}"]
    assert await _heard(app, f"mute-{fault}", stream=True) == ("", "guardrails_unavailable")
    answer = await app.post("/v1/chat/completions", json=_body(f"mute-{fault}", HARMLESS))
    assert answer.json()["error"]["code"] == "guardrails_unavailable"
    assert await _heard(app, f"lenient-{fault}", stream=True) == ("".join(fake.says), "stop")


async def _flagging(asked: str) -> web.StreamResponse:
    return await json_answer(_said("yes" if "연간 15일" in asked else "no"))


async def test_an_agent_does_without_passages_that_are_blocked(
    app: httpx.AsyncClient, fake: Fake
) -> None:
    question = {"message": "연차 휴가는 며칠인가요?"}
    fake.judge = failing
    answer = await app.post("/v1/agents/clever/chat", json=question)
    assert answer.json()["error"]["code"] == "guardrails_unavailable"
    fake.judge = _flagging
    answer = await app.post("/v1/agents/clever/chat", json=question)
    assert answer.status_code == 200
    assert "연간 15일" not in answer.text
    assert not [text for text in fake.texts("x") if "연간 15일" in text]


async def test_a_search_that_finds_what_is_blocked_is_refused(
    app: httpx.AsyncClient, judged: Service, fake: Fake
) -> None:
    fake.judge, question = _flagging, "연차 휴가는 며칠인가요?"
    tool = {"type": "file_search", "vector_store_ids": [judged.store]}
    body = {
        "model": "passages",
        "input": question,
        "tools": [tool],
        "store": False,
    }
    answer = await app.post("/v1/responses", json=body)
    assert answer.status_code == 400, answer.text
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (
        "guardrail_blocked",
        "tools",
    )


async def _recorded(service: Service, request_id: str) -> dict[str, Any]:
    """Return a request's usage record, once it is stored."""
    owner = await asyncpg.connect(service.database)
    statement = "SELECT target, cost, attempts, verdicts FROM usage_records WHERE request_id = $1"
    try:
        async with asyncio.timeout(60):
            while not (row := await owner.fetchrow(statement, request_id)):
                await owner.fetchval("SELECT pg_sleep(0.05)")
    finally:
        await owner.close()
    texts = {name: msgspec.json.decode(row[name]) for name in ("attempts", "verdicts")}
    return {**row, **texts}
