"""SIGTERM, with something of every kind under way: who ends well, who is told, what is kept."""

import http.client
import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis
from gated_upstream import Gates, gated_upstream
from naru_process import NaruProcess

from gateway.credentials import Credentials

QUESTION = "How many days of annual leave do I get?"
MESSAGES = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def gates() -> Iterator[Gates]:
    with gated_upstream() as playing:
        yield playing


@pytest.fixture
def redis_of_its_own(redis_url: str) -> str:
    url = f"{redis_url}?db=9"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def naru(
    tmp_path: Path, gates: Gates, empty_database: str, redis_of_its_own: str
) -> Iterator[NaruProcess]:
    environ = {
        "DATABASE_URL": empty_database,
        "REDIS_URL": redis_of_its_own,
        "OPENAI_API_KEY": "sk-upstream",
        "OPENAI_BASE_URL": gates.url,
        "NARU__PROVIDERS__OPENAI__FIRST_BYTE_TIMEOUT_S": "300",
        "NARU__PROVIDERS__OPENAI__IDLE_TIMEOUT_S": "300",
        "NARU__SERVER__DRAIN_DELAY_S": "600",
        "NARU__SERVER__GRACE_S": "600",
        "NARU__LIMITS__CLIENT__CONCURRENT_REQUESTS": "50",
    }
    with NaruProcess(tmp_path / "data", "--demo", environ=environ) as process:
        process.wait_until_ready()
        yield process


class Caller:
    """The demo's client, in several threads."""

    def __init__(self, naru: NaruProcess, gates: Gates, threads: ThreadPoolExecutor) -> None:
        known = Credentials.read(naru.data_dir)
        assert known is not None
        self.url = known.url
        self._gates = gates
        self._headers = {"authorization": f"Bearer {known.api_key}"}
        self._threads = threads

    def begin(self, path: str, body: dict[str, Any], model: str) -> "Future[httpx.Response]":
        """Ask, and return once the upstream was asked."""
        before = self._gates.asked.count(model)
        asked = self._threads.submit(self.post, path, body)
        _until(lambda: self._gates.asked.count(model) > before)
        return asked

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(self.url + path, json=body, headers=self._headers, timeout=180)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=self._headers, timeout=60)


def _until(condition: Any, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _chat(model: str, *, stream: bool) -> dict[str, Any]:
    return {"model": f"openai/{model}", "messages": MESSAGES, "stream": stream}


async def test_sigterm(
    naru: NaruProcess, gates: Gates, empty_database: str, redis_of_its_own: str
) -> None:
    chat = "/v1/chat/completions"
    with ThreadPoolExecutor(8) as threads, closing(gates):
        caller = Caller(naru, gates, threads)
        queued = {"model": "openai/queued", "input": "hello", "background": True}
        queued_id = caller.post("/v1/responses", queued).json()["id"]
        _until(lambda: "queued" in gates.asked)
        finishing = [
            caller.begin(chat, _chat("finishing", stream=stream), "finishing")
            for stream in (True, False)
        ]
        cut = [caller.begin(chat, _chat("cut", stream=stream), "cut") for stream in (True, False)]
        turn = {"message": QUESTION, "session_id": "s-1", "stream": True}
        told = caller.begin("/v1/agents/hr-assistant/chat", turn, "gpt-4o-mini")
        kept_alive = http.client.HTTPConnection("127.0.0.1", naru.port, timeout=60)
        assert _ask(kept_alive)[0].getheader("connection") != "close"
        assert _reserved(redis_of_its_own)

        naru.process.send_signal(signal.SIGTERM)
        draining = {"status": "draining", "degraded": []}
        why = {"reason": "the server is shutting down"}
        naru.wait_for_answer("/health/ready", 503, draining | why)

        answer, body = _ask(kept_alive)
        assert (answer.status, answer.getheader("connection")) == (503, "close")
        assert body["status"] == "draining"
        assert caller.post(chat, _chat("free", stream=False)).status_code == 200
        assert caller.get(f"/v1/responses/{queued_id}").json()["status"] == "in_progress"
        gates["finishing"].set()
        stream, whole = (each.result(60) for each in finishing)
        assert stream.text.rstrip().endswith("data: [DONE]")
        assert whole.json()["choices"][0]["message"]["content"].startswith("15 days")

        _hurry(naru)
        _told_in_band(cut[0].result(60).text)
        refused = cut[1].result(60)
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
        assert refused.json()["error"] == {
            "message": "the server is shutting down: send it again",
            "type": "service_unavailable",
            "param": None,
            "code": "server_shutdown",
        }
        _told_in_band(told.result(60).text)
        assert naru.process.wait(60) == 0, naru.output
    assert "Traceback" not in naru.output
    await _everything_is_kept(naru, empty_database, queued_id)
    assert not _reserved(redis_of_its_own)


def _ask(connection: http.client.HTTPConnection) -> tuple[http.client.HTTPResponse, Any]:
    connection.request("GET", "/health/ready")
    answer = connection.getresponse()
    return answer, json.loads(answer.read())


def _hurry(naru: NaruProcess) -> None:
    """Signal again, later than one signal may arrive twice."""
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert naru.get("/health/live")[0] == 200  # not before it is told
        time.sleep(0.1)
    naru.process.send_signal(signal.SIGTERM)


def _told_in_band(text: str) -> None:
    frames = [line for line in text.splitlines() if line.startswith("data: ")]
    assert "server_shutdown" in frames[-1], text
    assert "[DONE]" not in text
    assert not any(json.loads(frame[6:]).get("finish_reason") for frame in frames)
    assert '"finish_reason":"' not in text.replace(" ", "")


async def _everything_is_kept(naru: NaruProcess, database: str, queued_id: str) -> None:
    owner = await asyncpg.connect(database)
    try:
        endings = await owner.fetch("SELECT model, ending FROM usage_records ORDER BY 1, 2")
        found = [tuple(row) for row in endings]
        for ending in [
            *(("openai/finishing", "completed"), ("openai/cut", "server_shutdown")),
            ("openai/free", "completed"),
        ]:
            assert ending in found
        assert found.count(("openai/cut", "server_shutdown")) == 2
        cut = [model for model, ending in found if ending == "server_shutdown"]
        assert len(cut) == 4, found
        said = "SELECT content, status FROM messages WHERE role = 'assistant'"
        (message,) = await owner.fetch(said)
        assert tuple(message) == ("15 days ", "partial")
        jobs = [row["lease"] for row in await owner.fetch("SELECT lease FROM response_jobs")]
        assert jobs == [None], "the next worker takes it at once"
        status = "SELECT status FROM responses WHERE id = $1"
        assert await owner.fetchval(status, queued_id) in ("queued", "in_progress")
        leases = "SELECT count(*) FROM budget_leases"
        assert await owner.fetchval(leases) == 0
    finally:
        await owner.close()
    assert not list((naru.data_dir / "journal").iterdir()), "all records are in the database"


def _reserved(url: str) -> list[str]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return list(client.scan_iter("naru:limits:*:concurrent_requests"))
