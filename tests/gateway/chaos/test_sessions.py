"""64 clients write to 16 sessions over two gateways, leave and come back; one gateway is killed."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from aiohttp import web
from gateway_support import Service
from support import free_port, scope_of
from turn_history import Ack, Message, violations
from turns_support import aside, events_of
from upstream_support import DONE, STOP, Upstream

from config.postgres import open_pool
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition

CLIENTS, SESSIONS, TURNS = 64, 16, 2
CHAT = "/v1/agents/chaos/chat"
ASKED = "병가는 며칠인가요"
_CODE = re.compile(r"며칠인가요([?!]+)")
_REFUSED = {409, 429, 500, 502, 503, 504}


@dataclass
class Child:
    """The gateway that is killed: a process of its own."""

    settings: dict[str, Any]
    sockets: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings['server']['port']}"

    def spawn(self) -> "subprocess.Popen[bytes]":
        tests = Path(__file__).parents[2]
        argv = [sys.executable, str(tests / "gateway_child.py")]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("NARU")}
        return subprocess.Popen(
            [*argv, json.dumps(self.settings), str(self.sockets)],
            cwd=tests.parent,
            env=environ | {"PYTHONPATH": str(tests.parent)},
        )

    async def start(self) -> None:
        self.process = process = self.spawn()
        async with asyncio.timeout(90), httpx.AsyncClient(timeout=2) as client:
            while True:
                assert process.poll() is None, "the second gateway did not start"
                try:
                    await client.get(f"{self.url}/health/live")
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
                else:
                    return

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(20)


@pytest.fixture
async def child(
    service: Service, redis_url: str, sockets: Path, data_dir: Path, upstream: Upstream
) -> AsyncIterator[Child]:
    async with await open_pool(service.database, size=1) as pool:
        definition = AgentDefinition("chaos", "", "fake/chaos", (service.store,))
        await save_agent(pool, scope_of("acme", "app"), definition)
    settings = {
        "data_dir": str(data_dir),
        "public_url": service.url,
        "database": {"url": service.database},
        "redis": {"url": redis_url},
        "server": {"port": free_port()},
        "providers": {"fake": {"base_url": upstream.url, "api_key": "sk-upstream"}},
        "sessions": {"lease_s": 2},
    }
    child = Child(settings, sockets)
    await child.start()
    yield child
    child.kill()


async def echo(request: web.Request) -> web.StreamResponse:
    """A model whose answer says which question it answers."""
    body = json.loads(await request.read())
    if aside(body):
        return web.json_response({"error": {"message": "not now"}}, status=400)
    code = _CODE.findall(body["messages"][-1]["content"])[-1]
    words = ["병가 ", "답 ", code.replace("?", "o").replace("!", "x")]
    if not body.get("stream"):
        choice = {"message": {"content": "".join(words)}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice]})
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for word in words:
        chunk = {"choices": [{"delta": {"content": word}}]}
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await asyncio.sleep(0.02)
    await response.write(STOP + DONE)
    return response


def question(number: int) -> str:
    """A question of its own that asks the same: only words are searched."""
    return ASKED + "".join("?!"[number >> bit & 1] for bit in range(8)) + "?"


@dataclass
class Chaos:
    """The clients' common world."""

    urls: list[str]
    key: str
    prefix: str = field(default_factory=lambda: f"chaos-{uuid.uuid4().hex[:8]}")
    acks: list[Ack] = field(default_factory=list)
    left: int = 0
    retried: int = 0

    async def client(self, number: int) -> None:
        """Say something a few times, each until an answer has come whole."""
        whims = random.Random(number)
        session = f"{self.prefix}-{number % SESSIONS}"
        limits = httpx.Timeout(20)
        headers = {"authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(headers=headers, timeout=limits) as http:
            for turn in range(TURNS):
                asked = question(number * TURNS + turn)
                body = {"message": asked, "session_id": session}
                if whims.random() < 0.6:
                    body |= {"stream": True, "resumable": True}
                reply = await self._insist(http, body, whims)
                ack = Ack(number, session, asked, reply["response"], reply["message_id"])
                self.acks.append(ack)

    async def _insist(
        self, http: httpx.AsyncClient, body: dict[str, Any], whims: random.Random
    ) -> dict[str, Any]:
        key = {"idempotency-key": uuid.uuid4().hex}
        while True:
            url = whims.choice(self.urls) + CHAT
            try:
                reply = await self._try(http, url, body, key, whims)
            except (httpx.TransportError, TimeoutError):
                reply = None
            if reply is not None:
                return reply
            self.retried += 1
            await asyncio.sleep(whims.uniform(0.05, 0.4))

    async def _try(
        self,
        http: httpx.AsyncClient,
        url: str,
        body: dict[str, Any],
        key: dict[str, str],
        whims: random.Random,
    ) -> dict[str, Any] | None:
        """The reply; None where this client left, or was told to come back."""
        leaves = whims.random() < 0.4
        if not body.get("stream"):
            async with asyncio.timeout(whims.uniform(0.01, 0.5) if leaves else 20):
                answer = await http.post(url, json=body, headers=key)
            assert answer.status_code == 200 or answer.status_code in _REFUSED, answer.text
            return answer.json() if answer.status_code == 200 else None
        stop_at = whims.randint(1, 5) if leaves else 1000
        async with http.stream("POST", url, json=body, headers=key) as answer:
            if answer.status_code != 200:
                assert answer.status_code in _REFUSED, await answer.aread()
                return None
            numbers = []
            async for event in events_of(answer):
                if event.name == "done":
                    assert numbers == [*range(1, len(numbers) + 1)]
                    return event.data["reply"]
                if event.name == "error" or len(numbers) == stop_at:
                    self.left += 1
                    return None
                numbers.append(int(event.id.split(".")[1]))
        return None


async def test_no_turn_is_lost_doubled_or_reordered(
    service: Service, http: httpx.AsyncClient, child: Child, upstream: Upstream
) -> None:
    upstream.answer = echo
    chaos = Chaos([service.url, child.url], service.key)
    clients = [asyncio.create_task(chaos.client(number)) for number in range(CLIENTS)]
    for share in (0.2, 0.5):
        while len(chaos.acks) < share * CLIENTS * TURNS:
            assert not any(task.done() and task.exception() for task in clients)
            await asyncio.sleep(0.05)
        child.kill()
        await child.start()
    async with asyncio.timeout(200):
        await asyncio.gather(*clients)
    history = {}
    for number in range(SESSIONS):
        session = f"{chaos.prefix}-{number}"
        answer = await http.get(f"/v1/sessions/{session}/messages", params={"limit": 1000})
        history[session] = msgspec.convert(answer.json()["data"], list[Message])
    asked = [question(number) for number in range(CLIENTS * TURNS)]
    assert violations(chaos.acks, history, asked) == []
    assert len(chaos.acks) == len(asked)
    assert sum(map(len, history.values())) == 2 * len(asked)
    assert chaos.left > 0
    assert chaos.retried > 0
