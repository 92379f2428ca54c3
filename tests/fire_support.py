"""Three web workers over PostgreSQL and Redis of their own, and an upstream that counts."""

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec
import psutil
from aiohttp import web
from govern_support import OwnRedis, own_redis
from upstream_support import DONE, ROLE, Upstream, play_upstream

import auth
from config import embedded
from config.load import ENGINES_VARIABLE, FILE_VARIABLE, SOCKETS_VARIABLE
from config.postgres import migrate, open_pool
from config.settings import AuthSettings

PROCESSES = 3
PROMPT_TOKENS = 7
NANOS_PER_TOKEN = 1_000
"""What a token costs here, of a prompt or of an answer."""

TESTS = Path(__file__).parent


class OwnPostgres:
    """A PostgreSQL that can be killed, stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        runtime = embedded.runtime_dir(folder)
        self.url = embedded.postgres_url(runtime)
        self._command = embedded.postgres_command(folder, runtime)
        self.start()

    def start(self) -> None:
        self._child = embedded.spawn(self._command)
        status = self._folder / "postgres" / "postmaster.pid"
        deadline = time.monotonic() + 60
        while not (status.exists() and status.read_text().rstrip().endswith("ready")):
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.02)
        self._server = psutil.Process(int(status.read_text().split("\n", 1)[0]))

    def stop(self) -> None:
        """End it in good order, whoever is connected."""
        self.go_on()
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait(60)

    def hang(self) -> None:
        for process in self._family():
            process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        for process in self._family():
            process.send_signal(signal.SIGCONT)

    def _family(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return [self._server, *self._server.children()]
        return []


@dataclass
class Served:
    """What the upstream has served of one model.

    Attributes:
        tokens: Of prompts and answers, as it has sent them.
        ids: Of requests, as their last message says them.
        most: How many were under way at a time.
    """

    tokens: int = 0
    ids: Counter[str] = field(default_factory=Counter)
    under_way: int = 0
    most: int = 0

    @property
    def cost(self) -> int:
        return self.tokens * NANOS_PER_TOKEN


@dataclass
class Counting:
    """The upstream: answers with as many tokens as it is asked for, and counts them by model."""

    served: dict[str, Served] = field(default_factory=lambda: defaultdict(Served))
    pause_s: float = 0.0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = msgspec.json.decode(await request.read())
        served = self.served[body["model"]]
        served.ids[body["messages"][-1]["content"]] += 1
        served.under_way += 1
        served.most = max(served.most, served.under_way)
        try:
            if body.get("stream"):
                return await self._stream(request, served, body["max_tokens"])
            await asyncio.sleep(self.pause_s)
            served.tokens += PROMPT_TOKENS + body["max_tokens"]
            return web.Response(body=_whole(body["max_tokens"]), content_type="application/json")
        finally:
            served.under_way -= 1

    async def _stream(self, request: web.Request, served: Served, words: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        with suppress(ConnectionError):
            await response.prepare(request)
            served.tokens += PROMPT_TOKENS
            await response.write(ROLE)
            for _ in range(words):
                await asyncio.sleep(self.pause_s)
                served.tokens += 1
                await response.write(_event([{"index": 0, "delta": {"content": "hi "}}]))
            await response.write(_event([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
            await response.write(_event([], usage=_usage(words)) + DONE)
        return response


def _usage(words: int) -> dict[str, int]:
    total = PROMPT_TOKENS + words
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": words, "total_tokens": total}


def _whole(words: int) -> bytes:
    message = {"role": "assistant", "content": "hi " * words}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return msgspec.json.encode({"id": "c", "choices": choices, "usage": _usage(words)})


def _event(choices: list[object], **more: object) -> bytes:
    return b"data: " + msgspec.json.encode({"id": "c", "choices": choices, **more}) + b"\n\n"


@dataclass(frozen=True)
class Caller:
    """A client and its token, or its API key."""

    client: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    model: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Reply:
    """What a caller was told; `ended`: a stream came to its end."""

    status: int
    code: str | None
    headers: "dict[str, str]"
    text: str
    ended: bool


class Gateway:
    """A web worker with a socket of its own; `start` starts it again."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self._number = number
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.set_inheritable(True)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, clock_off_s: float = 0.0, **settings: str) -> None:
        """Start it; `settings` are variables without `NARU__`."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("NARU")}
        environ = clean | {
            FILE_VARIABLE: str(self._folder / "naru.yaml"),
            SOCKETS_VARIABLE: str(self._folder),
            ENGINES_VARIABLE: "{}",
            "PYTHONPATH": str(TESTS.parent),
            **{f"NARU__{name}": value for name, value in settings.items()},
        }
        worker = ["-m", "gateway.web_worker"]
        if clock_off_s:
            worker = [str(TESTS / "worker_with_a_wrong_clock.py"), str(clock_off_s)]
        fd = self._listening.fileno()
        with (self._folder / f"web-{self._number}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *worker, "--fd", str(fd)],
                pass_fds=[fd],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.kill()
        self._listening.close()


@dataclass
class Fire:
    """The three, what they stand on, and who asks them."""

    folder: Path
    gateways: list[Gateway]
    postgres: OwnPostgres
    redis: OwnRedis
    upstream: Counting
    http: aiohttp.ClientSession
    operator: Caller | None = None
    ids: Iterator[int] = field(default_factory=itertools.count)

    async def caller(
        self, *, tenant: str = "acme", model: str = "", key: bool = False, **options: Any
    ) -> Caller:
        """Make a client that has a model of its own, so that what it takes is counted apart.

        It has a token, or an API key.
        """
        name = f"c{next(self.ids)}"
        box = auth.SecretBox.load(AuthSettings(), self.folder)
        async with await open_pool(self.postgres.url, size=1, role="naru_auth") as identity:
            await auth.create_tenant(identity, tenant, tenant)
            made = await auth.create_client(
                identity, box, tenant, name=name, client_id=f"{tenant}-{name}", **options
            )
            if key:
                token = (await auth.create_key(identity, box, made.client_id)).key
                return Caller(made.client_id, "", token, model or f"fake/{name}")
        basic = aiohttp.encode_basic_auth(made.client_id, made.client_secret)
        url = f"{self.gateways[0].url}/oauth/token"
        form = {"grant_type": "client_credentials"}
        async with self.http.post(url, data=form, headers={"authorization": basic}) as answer:
            token = (await answer.json())["access_token"]
        return Caller(made.client_id, made.client_secret, token, model or f"fake/{name}")

    async def administer(self, method: str, path: str, **body: object) -> Any:
        if self.operator is None:
            scopes = ["admin", "inference"]
            self.operator = await self.caller(role="operator", scopes=scopes, default_scopes=scopes)
        url = f"{self.gateways[0].url}/admin/{path}"
        asked = body or None
        headers = self.operator.headers
        async with self.http.request(method, url, json=asked, headers=headers) as answer:
            told = await answer.json()
            assert answer.ok, told
            return told

    async def limit(self, caller: Caller, **limits: int) -> int:
        """Limit a client; return how many requests were let in until every process knew."""
        await self.administer("POST", "limits", per="client", subject=caller.client, **limits)
        looking = replace(caller, model="fake/looking")
        counted = 0
        for gateway in self.gateways:
            async with asyncio.timeout(60):
                while True:
                    reply = await self.ask(gateway, looking, max_tokens=1)
                    if any(name.startswith("x-ratelimit-limit-") for name in reply.headers):
                        counted += 1
                        break
                    await asyncio.sleep(0.05)
        return counted

    async def budget(self, caller: Caller, nanos: int) -> str:
        """Give a client a budget; return its id when every process knows."""
        usd = f"{Decimal(nanos) / 10**9:.9f}"
        body = {"amount_usd": usd, "period": "month", "client": caller.client}
        made = await self.administer("POST", "budgets", **body)
        await asyncio.sleep(2.5)  # nothing tells that it is known
        return str(made["id"])

    async def until_settled(self, budget: str) -> dict[str, int]:
        """Return what is spent, in nano-dollars, when nothing is reserved or unaccounted for."""
        async with asyncio.timeout(90):
            while True:
                told = await self.administer("GET", f"budgets/{budget}")
                state = {
                    name: int(Decimal(told[f"{name}_usd"]) * 10**9)
                    for name in ("amount", "spent", "reserved", "unaccounted")
                }
                if not state["reserved"] and not state["unaccounted"]:
                    return state
                await asyncio.sleep(0.2)

    async def ask(self, gateway: Gateway, caller: Caller, **fields: Any) -> Reply:
        """Ask for a chat completion; status 0: the process is gone."""
        message = {"role": "user", "content": f"q{next(self.ids)}"}
        body = {"model": caller.model, "messages": [message], "max_tokens": 20} | fields
        url = f"{gateway.url}/v1/chat/completions"
        try:
            async with self.http.post(url, json=body, headers=caller.headers) as answer:
                text = (await answer.read()).decode()
                headers = {name.lower(): value for name, value in answer.headers.items()}
        except aiohttp.ClientError as error:
            return Reply(0, type(error).__name__, {}, "", ended=False)
        code = None if answer.ok else json.loads(text)["error"]["code"]
        return Reply(answer.status, code, headers, text, ended="[DONE]" in text)

    @asynccontextmanager
    async def storm(
        self, caller: Caller, *, clients: int = 8, pause_s: float = 0.0, **fields: Any
    ) -> AsyncIterator["Counter[str]"]:
        """Let so many clients ask each process for as long as the context is open.

        Every end is counted by its code, `ok` those that were answered.
        """
        ends: Counter[str] = Counter()
        going = True

        async def client(gateway: Gateway) -> None:
            while going:
                reply = await self.ask(gateway, caller, **fields)
                ends["ok" if reply.status == 200 else reply.code or str(reply.status)] += 1
                await asyncio.sleep(pause_s)

        tasks = [asyncio.create_task(client(g)) for g in self.gateways for _ in range(clients)]
        try:
            yield ends
        finally:
            going = False
            await asyncio.gather(*tasks)

    async def wipe(self) -> None:
        """Let Redis forget everything."""
        reader, writer = await asyncio.open_unix_connection(self.redis.url.removeprefix("unix://"))
        writer.write(b"FLUSHALL\r\n")
        assert await reader.readline() == b"+OK\r\n"
        writer.close()
        await writer.wait_closed()

    def served(self, caller: Caller) -> Served:
        return self.upstream.served[caller.model.partition("/")[2]]

    async def ledger(self, caller: Caller) -> list[asyncpg.Record]:
        """The client's records of requests that cost something."""
        owner = await asyncpg.connect(self.postgres.url)
        try:
            async with owner.transaction():
                await owner.execute("SELECT set_config('naru.tenant', $1, true)", "acme")
                return await owner.fetch(
                    "SELECT * FROM usage_records WHERE client = $1 AND model = $2 AND cost > 0",
                    *(caller.client, caller.model),
                )
        finally:
            await owner.close()

    async def until_told(self, caller: Caller) -> list[asyncpg.Record]:
        """Return the records when there are as many as requests that the upstream has served."""
        async with asyncio.timeout(90):
            while len(rows := await self.ledger(caller)) < self.served(caller).ids.total():
                await asyncio.sleep(0.2)
        return rows

    async def until_alive(self) -> None:
        """Start who has ended; return when every process answers."""
        for gateway in self.gateways:
            if not gateway.alive:
                gateway.start()
        for gateway in self.gateways:
            async with asyncio.timeout(120):
                while not await self._answers(gateway):
                    assert gateway.alive, "a web worker did not start"
                    await asyncio.sleep(0.05)

    async def _answers(self, gateway: Gateway) -> bool:
        with suppress(aiohttp.ClientError):
            async with self.http.get(f"{gateway.url}/health/live") as answer:
                return answer.status == 200
        return False


def tokens_of(rows: Sequence[asyncpg.Record]) -> int:
    return sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)


@contextmanager
def own_postgres(folder: Path) -> Iterator[OwnPostgres]:
    server = OwnPostgres(folder)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def burning(processes: int) -> Iterator[None]:
    """Let so many processes compute, so that nobody gets the CPU when it wants to."""
    burners = [subprocess.Popen([sys.executable, "-c", "while 1: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


@asynccontextmanager
async def under_fire(folder: Path) -> AsyncIterator[Fire]:
    """Start everything."""
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(own_postgres(folder))
        await migrate(postgres.url, ["auth", "rag", "gateway"])
        server = stack.enter_context(own_redis())
        upstream: Upstream = await stack.enter_async_context(play_upstream())
        counting = Counting()
        upstream.answer = counting.answer
        per_million = NANOS_PER_TOKEN / 1_000
        settings = {
            "data_dir": str(folder),
            "public_url": "http://127.0.0.1:9",
            "server": {"workers": PROCESSES},
            "database": {"url": postgres.url, "pool_size": 4},
            "redis": {"url": server.url},
            "providers": {"fake": {"base_url": upstream.url, "api_key": "k"}},
            "prices": {"fake/*": {"input": per_million, "output": per_million, "longest": 100}},
            "models": {"cached": {"targets": ["fake/cached"], "cache_ttl_s": 60}},
        }
        (folder / "naru.yaml").write_text(json.dumps(settings))
        gateways = [Gateway(folder, number) for number in range(PROCESSES)]
        for gateway in gateways:
            stack.callback(gateway.close)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=120),
            )
        )
        fire = Fire(folder, gateways, postgres, server, counting, http)
        await fire.until_alive()
        yield fire
