"""A model's server that costs next to nothing: what is measured behind is the gateway, not this.

`python loadtest/upstream.py --port 9100` speaks OpenAI's chat completions: a 500-byte answer, or a
stream whose chunks, silence and bursts can be set, at the start or by `POST /control`, for the
requests that follow. Each streamed chunk carries when it was written, between two `@`, in
nanoseconds of the machine's monotonic clock: whoever reads it knows how long it was under way.
"""

import argparse
import asyncio
import random
import re
import time
from collections.abc import Callable
from typing import Any, cast

import httptools
import msgspec
import uvloop

_STREAM = re.compile(rb'"stream"\s*:\s*true')
_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: "
_STREAM_HEAD = _HEAD + b"text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
_TELEMETRY = (b"/v1/traces", b"/v1/metrics")
_FAILURE = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
_NO_PATH = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
_CHUNK = (
    b'data: {"id":"chatcmpl-mock","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"mock","choices":[{"index":0,"delta":{%s},"finish_reason":%s}]%s}\n\n'
)
_ROLE = _CHUNK % (b'"role":"assistant","content":""', b"null", b"")
_STOP = _CHUNK % (b"", b'"stop"', b"")
_TOKENS = b'"usage":{"prompt_tokens":20,"completion_tokens":%d,"total_tokens":%d}'


class Script(msgspec.Struct):
    """How answers are given.

    Attributes:
        answer_bytes: Length of a whole answer's body.
        delay_ms: Silence before a whole answer, or before a stream's first content.
        chunks: How many chunks with content a stream has.
        interval_ms: Silence between two of a stream's writes; 0 leaves none.
        burst: Chunks in one write.
        failing: Which share of requests is answered 500, or not to its end.
    """

    answer_bytes: int = 500
    delay_ms: float = 0.0
    chunks: int = 100
    interval_ms: float = 20.0
    burst: int = 1
    failing: float = 0.0


def whole_answer(script: Script) -> bytes:
    """Return an answer that is not streamed, its header included."""
    answer: dict[str, Any] = {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "mock",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 60, "total_tokens": 80},
    }
    missing = script.answer_bytes - len(msgspec.json.encode(answer))
    answer["choices"][0]["message"]["content"] = "word " * (missing // 5) + "." * (missing % 5)
    return _json(msgspec.json.encode(answer))


def _json(body: bytes) -> bytes:
    return _HEAD + b"application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _framed(event: bytes) -> bytes:
    """Return it as a part of HTTP's chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(event), event)


class Upstream:
    """What all connections share: the script, and the answer that is made once."""

    def __init__(self, script: Script) -> None:
        self.follow(script)

    def follow(self, script: Script) -> None:
        """Answer so from now on; streams that have begun go on as they began."""
        self.script = script
        self.whole = whole_answer(script)


class Stream:
    """One streamed answer, written piece by piece until its end or the connection's."""

    def __init__(
        self, transport: asyncio.Transport, script: Script, *, usage: bool, done: Callable[[], None]
    ) -> None:
        self._transport, self._script, self._usage, self._done = transport, script, usage, done
        self._left = script.chunks
        self._loop = asyncio.get_running_loop()
        transport.write(_STREAM_HEAD + _framed(_ROLE))
        self._next = self._loop.call_later(script.delay_ms / 1000, self._write)

    def close(self) -> None:
        """Write nothing more."""
        self._next.cancel()

    def _write(self) -> None:
        count = min(self._script.burst, self._left)
        content = b'"content":"@%d@"' % time.monotonic_ns()
        self._transport.write(_framed(_CHUNK % (content, b"null", b"")) * count)
        self._left -= count
        if not self._left:
            self._end()
        elif self._script.interval_ms:
            self._next = self._loop.call_later(self._script.interval_ms / 1000, self._write)
        elif self._transport.get_write_buffer_size():
            self._next = self._loop.call_later(0.001, self._write)
        else:
            self._next = self._loop.call_later(0, self._write)

    def _end(self) -> None:
        count = self._script.chunks
        tokens = b"," + _TOKENS % (count, 20 + count)
        usage = _CHUNK.replace(b'{"index":0,"delta":{%s},"finish_reason":%s}', b"") % tokens
        events = _STOP + (usage if self._usage else b"") + b"data: [DONE]\n\n"
        self._transport.write(_framed(events) + b"0\r\n\r\n")
        self._done()


class Connection(asyncio.Protocol):
    """One connection of a gateway."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._stream: Stream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._body = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        """End what was being answered."""
        if self._stream:
            self._stream.close()
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Remember a part of the path."""
        self._path += url

    def on_body(self, body: bytes) -> None:
        """Remember a part of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer."""
        path, body = self._path, self._body
        self._path, self._body = b"", b""
        if path.endswith(b"/chat/completions"):
            self._chat(body)
        elif path == b"/control":
            self._upstream.follow(msgspec.json.decode(body, type=Script))
            self._transport.write(_json(b"{}"))
        elif path.endswith(b"/models"):
            model = b'{"id":"mock","object":"model","created":1700000000,"owned_by":"mock"}'
            self._transport.write(_json(b'{"object":"list","data":[%b]}' % model))
        else:
            known = path.startswith(b"/health") or path in _TELEMETRY
            self._transport.write(_json(b"{}") if known else _NO_PATH)

    def _chat(self, body: bytes) -> None:
        script = self._upstream.script
        if script.failing and random.random() < script.failing:
            self._fail()
        elif _STREAM.search(body):
            usage = _USAGE.search(body) is not None
            self._stream = Stream(self._transport, script, usage=usage, done=self._ended)
        elif script.delay_ms:
            loop = asyncio.get_running_loop()
            whole = self._upstream.whole
            self._timer = loop.call_later(script.delay_ms / 1000, self._transport.write, whole)
        else:
            self._transport.write(self._upstream.whole)

    def _fail(self) -> None:
        if random.random() < 0.5:
            self._transport.write(_FAILURE)
        else:
            self._transport.write(_STREAM_HEAD + _framed(_ROLE))
            self._transport.close()

    def _ended(self) -> None:
        self._stream = None


async def serve(port: int, script: Script) -> None:
    """Serve on the loopback address until cancelled."""
    upstream = Upstream(script)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(upstream), "127.0.0.1", port, backlog=20_000
    )
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=9100)
    for name, default in msgspec.to_builtins(Script()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    given = vars(parser.parse_args())
    port = given.pop("port")
    uvloop.run(serve(port, Script(**given)))


if __name__ == "__main__":
    main()
