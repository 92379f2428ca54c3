"""Users of a running service, for Locust: `make locust` (ARGS="--headless -u 50 -r 10 -t 5m").

They come with client credentials and chat, ask agents in sessions, embed and search. Against any
deployment: NARU_URL, NARU_CLIENT_ID and NARU_CLIENT_SECRET say where and as whom; NARU_AGENT,
NARU_MODEL (default the agent, which is a model too), NARU_STORE and NARU_EMBEDDING_MODEL whom they
ask. What is not named is not asked. Of streams Locust's table also has the time to the first token
(`first token`), from one to the next (`between tokens`), and `tokens/s` in the columns of times.
"""

import json
import os
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from locust import HttpUser, between, task
from locust.exception import StopUser

AGENT = os.environ.get("NARU_AGENT", "")
MODEL = os.environ.get("NARU_MODEL") or AGENT
STORE = os.environ.get("NARU_STORE", "")
EMBEDDING_MODEL = os.environ.get("NARU_EMBEDDING_MODEL", "all-MiniLM-L6-v2")
QUESTIONS = (
    "How many days of annual leave do I have?",
    "연차 휴가는 며칠인가요?",
    "Who approves a business trip?",
    "출산 휴가는 며칠인가요?",
    "What is paid for working at night?",
)
_RENEW_S = 30.0
_TIMEOUT_S = 120.0


@dataclass(slots=True)
class Timing:
    """When the tokens of a stream came.

    Attributes:
        began: When it was asked for.
        moments: When a chunk with content was read.
        tokens: What the stream says at its end; else a chunk counts as one.
    """

    began: float = field(default_factory=time.perf_counter)
    moments: list[float] = field(default_factory=list)
    tokens: int | None = None

    def read(self, event: dict[str, Any]) -> None:
        """Take in an event of the stream, in OpenAI's shape or an agent's."""
        delta = ((event.get("choices") or [{}])[0]).get("delta") or {}
        if delta.get("content") or (event.get("type", "").endswith("delta")):
            self.moments.append(time.perf_counter())
        if usage := event.get("usage"):
            self.tokens = usage.get("completion_tokens", self.tokens)

    def measures(self) -> Iterator[tuple[str, float]]:
        """Yield name and value; nothing of a stream without content."""
        if not self.moments:
            return
        yield "first token", 1000 * (self.moments[0] - self.began)
        lasted = self.moments[-1] - self.moments[0]
        if len(self.moments) > 1:
            yield "between tokens", 1000 * lasted / (len(self.moments) - 1)
        if lasted > 0:
            yield "tokens/s", ((self.tokens or len(self.moments)) - 1) / lasted


def events(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Yield what the `data:` lines of an event stream say."""
    for line in lines:
        if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
            yield json.loads(line[5:])


class NaruUser(HttpUser):
    """Somebody with a token of the client; it is renewed before it expires."""

    abstract = True
    host = os.environ.get("NARU_URL", "http://127.0.0.1:8080")
    wait_time = between(0.5, 2.0)
    needs: tuple[str, ...] = ()

    def on_start(self) -> None:
        """Log in; leave where there is nobody to ask."""
        if not all(self.needs):
            raise StopUser
        self._expires = 0.0

    def ask(self, path: str, body: dict[str, Any], name: str) -> dict[str, Any]:
        """Return the answer; an empty one where it failed, which Locust then knows."""
        options = {"json": body, "headers": self._headers(), "timeout": _TIMEOUT_S}
        with self.client.post(path, name=name, catch_response=True, **options) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {answer.text[:200]}")
                return {}
            return dict(answer.json())

    def stream(self, path: str, body: dict[str, Any], name: str) -> None:
        """Read a stream to its end; tell Locust when its tokens came."""
        timing = Timing()
        asked = {"json": body, "headers": self._headers(), "timeout": _TIMEOUT_S, "stream": True}
        with self.client.post(path, name=name, catch_response=True, **asked) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {answer.text[:200]}")
                return
            for event in events(answer.iter_lines(chunk_size=None)):
                if "error" in event:
                    answer.failure(str(event["error"])[:200])
                    return
                timing.read(event)
        for kind, value in timing.measures():
            self.environment.events.request.fire(
                request_type=kind,
                name=name,
                response_time=value,
                response_length=0,
                exception=None,
                context={},
            )

    def _headers(self) -> dict[str, str]:
        if time.monotonic() > self._expires - _RENEW_S:
            self._log_in()
        return {"authorization": f"Bearer {self._token}"}

    def _log_in(self) -> None:
        client = (os.environ.get("NARU_CLIENT_ID", ""), os.environ.get("NARU_CLIENT_SECRET", ""))
        form = {"grant_type": "client_credentials"}
        answer = self.client.post("/oauth/token", data=form, auth=client, timeout=_TIMEOUT_S)
        if answer.status_code != 200:
            raise StopUser
        granted = answer.json()
        self._token = granted["access_token"]
        self._expires = time.monotonic() + granted["expires_in"]


class Chatter(NaruUser):
    """Asks a model, now and then without a stream."""

    weight = 3
    needs = (MODEL,)

    @task(1)
    def chat(self) -> None:
        """Ask for a whole answer."""
        self.ask("/v1/chat/completions", self._body(), "chat")

    @task(3)
    def chat_stream(self) -> None:
        """Ask for a stream."""
        more = {"stream": True, "stream_options": {"include_usage": True}}
        self.stream("/v1/chat/completions", self._body() | more, "chat, streamed")

    def _body(self) -> dict[str, Any]:
        message = {"role": "user", "content": random.choice(QUESTIONS)}
        return {"model": MODEL, "messages": [message]}


class Employee(NaruUser):
    """Talks with an agent: a few turns in one session, then another."""

    weight = 2
    needs = (AGENT,)

    def on_start(self) -> None:
        """Begin without a conversation."""
        super().on_start()
        self._left = 0

    @task(2)
    def talk(self) -> None:
        """Ask for a whole answer."""
        self.ask(f"/v1/agents/{AGENT}/chat", self._turn(), "agent")

    @task(1)
    def talk_stream(self) -> None:
        """Ask for a stream."""
        self.stream(f"/v1/agents/{AGENT}/chat", self._turn() | {"stream": True}, "agent, streamed")

    def _turn(self) -> dict[str, Any]:
        if not self._left:
            self._session, self._left = f"load-{uuid.uuid4().hex}", random.randint(2, 6)
        self._left -= 1
        return {"message": random.choice(QUESTIONS), "session_id": self._session}


class Reader(NaruUser):
    """Embeds and searches, without a model that answers."""

    weight = 1
    needs = (STORE,)

    @task
    def embed(self) -> None:
        """Embed a question."""
        body = {"model": EMBEDDING_MODEL, "input": random.choice(QUESTIONS)}
        self.ask("/v1/embeddings", body, "embed")

    @task
    def search(self) -> None:
        """Search the store."""
        body = {"query": random.choice(QUESTIONS), "max_num_results": 5}
        self.ask(f"/v1/vector_stores/{STORE}/search", body, "search")
