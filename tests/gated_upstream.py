"""A hosted model whose answers wait until the test says: one gate for each model's name."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SAYS = "15 days [1]."
_LIMIT_S = 120.0


class Gates:
    """What is held back and what was asked.

    Attributes:
        url: Of the API, as `OPENAI_BASE_URL` takes it.
        asked: The models that were asked so far.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []
        self._gates: dict[str, threading.Event] = defaultdict(threading.Event)

    def __getitem__(self, model: str) -> threading.Event:
        """The gate of `model`: set it to let its answers end."""
        return self._gates[model]

    def close(self) -> None:
        """Let everything end."""
        for gate in self._gates.values():
            gate.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gates: Gates

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model = asked["model"]
        gate = self.gates[model]
        if model == "free":
            gate.set()
        self.gates.asked.append(model)
        if asked.get("stream"):
            self._stream(gate)
            return
        gate.wait(_LIMIT_S)
        message = {"role": "assistant", "content": SAYS}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._answer(json.dumps(_base("chat.completion", [choice])).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, gate: threading.Event) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        first, _, rest = SAYS.partition("[")
        self._say({"content": first})
        gate.wait(_LIMIT_S)
        self._say({"content": "[" + rest})
        self._say({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, delta: dict[str, str], ended: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": ended}
        chunk = json.dumps(_base("chat.completion.chunk", [choice]))
        self.wfile.write(f"data: {chunk}\n\n".encode())

    def handle(self) -> None:
        """Whoever asked may have gone."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def _base(kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "c", "object": kind, "created": 1, "model": "m", "choices": choices}


@contextmanager
def gated_upstream() -> Iterator[Gates]:
    """Play the model; the one called `free` waits for nobody."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        gates = Gates(f"http://127.0.0.1:{server.server_address[1]}/v1")
        handler.gates = gates
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield gates
        finally:
            gates.close()
            server.shutdown()
            thread.join()
