"""Several replicas: which one takes a prompt, what it is told, and what is learnt from it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from msgspec.structs import replace
from upstream_support import COMPLETION, DONE, HI, ROLE, STOP, json_answer

from config.settings import EngineSettings
from gateway.errors import Unavailable
from gateway.generation.engine import Engine
from gateway.generation.prediction import FirstTokenTimes
from gateway.generation.replica import Replica
from gateway.generation.replicas import Replicas, open_engines
from gateway.generation.target import Prompt

PROMPT = Prompt({"messages": [{"role": "user", "content": "hello"}]}, tenant="acme")
METRICS = """# HELP vllm:num_requests_running Number of requests
vllm:num_requests_running{engine="0",model_name="m"} %d.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
"""


class _Server:
    """A replica as vLLM shows itself."""

    def __init__(self) -> None:
        self.url = ""
        self.healthy = 200
        self.running = 0
        self.status = 200
        self.asked: list[dict[str, object]] = []
        self.headers: list[dict[str, str]] = []

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(status=self.healthy)

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=METRICS % self.running)

    async def models(self, _: web.Request) -> web.Response:
        return await json_answer(b'{"data":[{"id":"m","max_model_len":4096},{"id":"lora"}]}')

    async def chat(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.asked.append(asked)
        self.headers.append(dict(request.headers))
        if self.status != 200 or not asked.get("stream"):
            return await json_answer(COMPLETION, self.status)
        response = web.StreamResponse()
        await response.prepare(request)
        for frame in (ROLE, HI, STOP, DONE):
            await response.write(frame)
        return response

    async def start(self, stack: AsyncExitStack) -> None:
        application = web.Application()
        application.router.add_get("/health", self.health)
        application.router.add_get("/metrics", self.metrics)
        application.router.add_get("/v1/models", self.models)
        application.router.add_post("/v1/chat/completions", self.chat)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self.url = f"http://127.0.0.1:{port}/v1"


@pytest.fixture
async def servers() -> AsyncIterator[list[_Server]]:
    async with AsyncExitStack() as stack:
        servers = [_Server() for _ in range(3)]
        for server in servers:
            await server.start(stack)
        yield servers


@pytest.fixture
async def replicas(servers: list[_Server]) -> AsyncIterator[Replicas]:
    settings = EngineSettings(urls=tuple(s.url for s in servers), api_key="sk-engine")
    async with open_engines({"q": settings}, {}, b"k" * 32) as opened:
        yield opened["q"]


@pytest.fixture
def target(replicas: Replicas) -> Engine:
    return Engine(replicas)


def _chosen(replicas: Replicas, session: str) -> Replica:
    return replicas.choose(replace(PROMPT, affinity=session))


async def test_what_a_replica_is_sent(replicas: Replicas, servers: list[_Server]) -> None:
    replicas._replicas = replicas._replicas[:1]
    target = Engine(replicas)
    fields = {**PROMPT.fields, "user": "u", "metadata": {}, "cache_salt": "theirs", "top_k": 3}
    await target.complete(replace(PROMPT, fields=fields))
    await target.complete(replace(PROMPT, tenant="rival"))
    await Engine(replicas, "lora").complete(PROMPT)
    first, second, third = servers[0].asked
    assert (first["model"], first["top_k"]) == ("m", 3)
    assert not {"user", "metadata"} & first.keys()
    assert third["model"] == "lora"
    salts = [asked["cache_salt"] for asked in (first, second, third)]
    assert len(set(salts)) == 2
    assert "theirs" not in salts
    assert servers[0].headers[0]["Authorization"] == "Bearer sk-engine"
    assert target.context == 4096


async def test_a_session_keeps_to_its_replica_and_sessions_spread(replicas: Replicas) -> None:
    chosen = {f"s{i}": _chosen(replicas, f"s{i}") for i in range(300)}
    assert all(_chosen(replicas, session) is replica for session, replica in chosen.items())
    counts = Counter(replica.url for replica in chosen.values())
    assert len(counts) == 3
    assert min(counts.values()) > 60


async def test_the_same_beginning_goes_to_the_same_replica(replicas: Replicas) -> None:
    system = {"role": "system", "content": "You are helpful. " * 100}

    def prompt(question: str) -> Prompt:
        return Prompt({"messages": [system, {"role": "user", "content": question}]})

    assert len({replicas.choose(prompt(f"{i}")).url for i in range(20)}) == 1


async def test_when_one_goes_only_its_sessions_move(replicas: Replicas) -> None:
    before = {f"s{i}": _chosen(replicas, f"s{i}") for i in range(100)}
    gone = before["s0"]
    gone.up = False
    for session, replica in before.items():
        moved = _chosen(replicas, session)
        assert moved is not gone
        assert replica is gone or moved is replica


async def test_affinity_yields_to_load(replicas: Replicas) -> None:
    first = _chosen(replicas, "s")
    visits = [first.begin(10) for _ in range(10)]
    assert _chosen(replicas, "s") is not first
    for visit in visits:
        first.end(visit)
    assert _chosen(replicas, "s") is first


async def test_others_requests_are_seen_in_the_metrics(
    replicas: Replicas, servers: list[_Server]
) -> None:
    first = _chosen(replicas, "s")
    assert first.load == pytest.approx(3.25)  # 1 runs, 2 wait, a quarter of the cache
    server = next(server for server in servers if server.url == first.url)
    server.running = 50
    await replicas.look()
    assert first.load == pytest.approx(53.25)
    assert _chosen(replicas, "s") is not first


async def test_an_ill_replica_is_left_alone_until_it_is_well(
    replicas: Replicas, servers: list[_Server]
) -> None:
    for server in servers:
        server.healthy = 503
    await replicas.look()
    assert not replicas.up
    with pytest.raises(Unavailable) as caught:
        await Engine(replicas).complete(PROMPT)
    assert caught.value.code == "engine_unavailable"
    assert "retry-after" in caught.value.headers
    servers[1].healthy = 200
    await replicas.look()
    assert replicas.choose(PROMPT).url == servers[1].url


@pytest.mark.parametrize("streaming", [True, False])
async def test_another_replica_answers_for_one_that_fails(
    target: Engine, replicas: Replicas, servers: list[_Server], *, streaming: bool
) -> None:
    first = replicas.choose(PROMPT)
    failing = next(server for server in servers if server.url == first.url)
    failing.status = 500
    answer = await (target.stream(PROMPT) if streaming else target.complete(PROMPT))
    assert (answer.target, answer.attempts) == ("engine/q", 2)
    assert len(failing.asked) == 1


async def test_places_are_given_back_however_a_stream_ends(
    target: Engine, replicas: Replicas
) -> None:
    whole = await target.stream(PROMPT)
    async for _ in whole.payloads:
        pass
    closed = await target.stream(PROMPT)
    await closed.payloads.aclose()
    forgotten = await target.stream(PROMPT)
    del forgotten
    limit = 512
    for _ in range(limit):
        async with asyncio.timeout(1):
            await replicas.admission.enter()
    assert [replica.load for replica in replicas._replicas] == [pytest.approx(3.25)] * 3


async def test_waiting_itself_is_a_prediction(replicas: Replicas) -> None:
    replica = replicas.choose(PROMPT)
    assert replica.first_token_s(100) == 0
    visit = replica.begin(100)
    await asyncio.sleep(0.02)
    assert replica.first_token_s(1) >= 0.02
    replica.first_token(visit)
    assert 0.01 < replica.first_token_s(100) < 1
    replica._last_sample -= 60
    assert replica.first_token_s(100) == 0


def test_the_line_through_what_was_seen() -> None:
    times = FirstTokenTimes()
    assert times.expect(1000) == 0
    for tokens in (100, 1000, 4000, 200, 3000):
        times.record(tokens, 0.05 + tokens / 1000)
    assert times.expect(2000) == pytest.approx(2.05, rel=0.05)
    assert times.expect(8000) == pytest.approx(8.05, rel=0.05)
    assert times.expect(0) >= 0


def test_prompts_of_one_length_tell_nothing_of_longer_ones() -> None:
    times = FirstTokenTimes()
    for seconds in (0.1, 0.2, 0.3):
        times.record(10, seconds)
    assert times.expect(10_000) == pytest.approx(0.2, rel=0.1)


def test_it_follows_a_change() -> None:
    times = FirstTokenTimes()
    for _ in range(100):
        times.record(100, 0.1)
    for _ in range(100):
        times.record(100, 1.0)
    assert times.expect(100) > 0.9


async def test_an_engine_that_is_away_keeps_nobody_from_starting() -> None:
    settings = EngineSettings(model="m")
    async with open_engines({"q": settings}, {"q": ["unix:///tmp/nothing.sock"]}, b"k") as opened:
        assert not opened["q"].up
