"""`OPENAI_API_KEY` and `OPENAI_BASE_URL`: a hosted model behind the gateway, and what SIGTERM does
to its streams. The upstream is a local server that plays OpenAI."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import openai
import pytest
from naru_process import NaruProcess

from gateway.credentials import Credentials

QUESTION = [{"role": "user", "content": "How many days of annual leave do I get?"}]


class Upstream(BaseHTTPRequestHandler):
    """Says `15 days [1].`; a stream for the model `slow` never ends."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[dict[str, object]]] = []
    hold: ClassVar[threading.Event] = threading.Event()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Upstream.asked.append(asked | {"authorization": self.headers["authorization"]})
        if asked.get("stream"):
            self._stream(endless=asked["model"] == "slow")
        else:
            message = {"role": "assistant", "content": "15 days [1]."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._answer(json.dumps(self._base("chat.completion", [choice])).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _base(self, kind: str, choices: list[dict[str, object]]) -> dict[str, object]:
        return {"id": "c", "object": kind, "created": 1, "model": "m", "choices": choices}

    def _stream(self, *, endless: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for text in ("15 days ", "[1]."):
            self._event([{"index": 0, "delta": {"content": text}, "finish_reason": None}])
        if endless:
            Upstream.hold.wait(60)
            return
        self._event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, choices: list[dict[str, object]]) -> None:
        chunk = json.dumps(self._base("chat.completion.chunk", choices))
        self.wfile.write(f"data: {chunk}\n\n".encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    Upstream.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


def _start(folder: Path, upstream: str) -> NaruProcess:
    environ = {
        "OPENAI_API_KEY": "sk-upstream",
        "OPENAI_BASE_URL": upstream,
        "NARU__MODELS": "{fast: [openai/gpt-4o-mini]}",
        "NARU__SERVER__GRACE_S": "1",
    }
    return NaruProcess(folder / ".naru", "--demo", environ=environ)


def _credentials(naru: NaruProcess) -> Credentials:
    found = Credentials.read(naru.data_dir)
    assert found is not None
    return found


def test_hosted_models_until_the_service_ends(tmp_path: Path, upstream: str) -> None:
    with _start(tmp_path, upstream) as naru:
        naru.wait_until_ready()
        known = _credentials(naru)
        with openai.OpenAI(base_url=known.url + "/v1", api_key=known.api_key) as sdk:
            for model in ("openai/gpt-4o-mini", "fast"):
                answer = sdk.chat.completions.create(model=model, messages=QUESTION)
                assert answer.choices[0].message.content == "15 days [1]."
                stream = sdk.chat.completions.create(model=model, messages=QUESTION, stream=True)
                told = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
                assert told == "15 days [1]."
            asked = Upstream.asked[-1]
            assert (asked["model"], asked["authorization"]) == ("gpt-4o-mini", "Bearer sk-upstream")
            _the_demo_agent_uses_it(sdk)
        _a_stream_is_told_that_the_server_ends(naru, known)


def _the_demo_agent_uses_it(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="hr-assistant", messages=QUESTION)
    assert answer.model == "openai/gpt-4o-mini"
    assert answer.choices[0].message.content == "15 days [1]."
    references = answer.model_extra["references"] if answer.model_extra else []
    assert [reference["source"] for reference in references] == ["Employee_Handbook_2026.pdf"]


def _a_stream_is_told_that_the_server_ends(naru: NaruProcess, known: Credentials) -> None:
    body = {"model": "openai/slow", "messages": QUESTION, "stream": True}
    headers = {"authorization": f"Bearer {known.api_key}"}
    url = known.url + "/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=30) as answer:
        lines = answer.iter_lines()
        assert "15 days" in next(lines)
        naru.process.terminate()
        rest = [line for line in lines if line]
    assert "server_shutdown" in rest[-1]
    assert not any("[DONE]" in line for line in rest)
    assert naru.process.wait(30) == 0, naru.output
