"""What the server takes of a request before anybody is asked for credentials, over raw sockets."""

import asyncio
import contextlib
import gc
import json
import re
import socket
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn

from gateway.heads import keep_server_send, send_whole
from gateway.http import MAX_HEAD_BYTES, BoundedProtocol

START = b"POST / HTTP/1.1\r\nhost: naru\r\n"


async def count(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An application that answers how long the body is."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d bytes" % size})


async def twice(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An application that answers in two steps at `/steps`, else at once where it may."""
    del receive
    size = int(scope["query_string"] or 2)
    head, body = {"content-length": str(size), "x-naru-target": "a/b"}, b"x" * size
    if scope["path"] != "/steps":
        if send_whole(scope)(200, head, body):  # type: ignore[arg-type]
            return
        head["x-steps"] = "yes"
    told = [(name.encode(), value.encode()) for name, value in head.items()]
    await send({"type": "http.response.start", "status": 200, "headers": told})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    """Serve the application; yield the port."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=BoundedProtocol, ws="none", lifespan="off", log_level="warning"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serving(count) as port:
        yield port


async def send(port: int, parts: Iterator[bytes]) -> bytes:
    """Send until the server has enough; return its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = asyncio.create_task(reader.read(100_000))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            if answered.done():
                break
    except ConnectionError:
        pass
    async with asyncio.timeout(10):
        answer = await answered
    writer.close()
    return answer


def endless(start: bytes) -> Iterator[bytes]:
    yield start
    for _ in range(1000):
        yield b"a" * 10_000
    pytest.fail("10 MB were taken")


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nauthorization: Bearer ",
        b"GET / HTTP/1.1\r\n",
        START + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\ntrailer: ",
        START + b"transfer-encoding: chunked\r\n\r\n1;extension=",
    ],
)
async def test_a_head_without_end_is_refused(port: int, start: bytes) -> None:
    answer = await send(port, endless(start))
    assert answer == b"" or b" 431 " in answer or b" 400 " in answer


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "one Host"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "one Host"),
        (START + b"content-length: x\r\n\r\n", 400, "valid HTTP"),
        (b"NONSENSE / HTTP/1.1\r\nhost: naru\r\n\r\n", 400, "valid HTTP"),
        (b"GET /" + b"a" * 100_000, 431, "longer than 65536 bytes"),
    ],
)
async def test_what_is_no_request_is_answered_with_an_error_object(
    port: int, request_: bytes, status: int, says: str
) -> None:
    head, _, body = (await send(port, iter([request_]))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nx-request-id: " in head
    error = json.loads(body)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert says in error["message"]


async def test_http_1_0_needs_no_host(port: int) -> None:
    assert b" 200 " in await send(port, iter([b"GET / HTTP/1.0\r\n\r\n"]))


async def test_a_head_within_the_limit_and_a_long_body_are_taken(port: int) -> None:
    head = START + b"authorization: " + b"a" * (MAX_HEAD_BYTES - 500) + b"\r\n"
    head += b"content-length: 3000000\r\n\r\n"
    parts = [head, *[b"b" * 100_000] * 30]
    assert b"3000000 bytes" in await send(port, iter(parts))


async def test_chunks_of_any_size_are_taken(port: int) -> None:
    head = START + b"transfer-encoding: chunked\r\n\r\n"
    parts = [head, *[b"1\r\nb\r\n" * 1000] * 50, b"0\r\n\r\n"]
    assert b"50000 bytes" in await send(port, iter(parts))


@pytest.mark.parametrize(
    ("told", "continues"),
    [
        (b"Expect: 100-Continue\r\n", True),
        (b"expect: other\r\nexpect: 100-continue\r\n", True),
        (b"expect: other\r\n", False),
    ],
)
async def test_who_waits_to_send_a_body_is_told_to(
    port: int, told: bytes, *, continues: bool
) -> None:
    close = b"connection: close\r\ncontent-length: 1\r\n\r\nx"
    answer = await send(port, iter([START + told + close]))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\n") is continues
    assert answer.endswith(b"1 bytes\r\n0\r\n\r\n")


async def _answers(*requests: bytes) -> bytes:
    """Return what is answered to requests that are sent at once."""
    async with serving(twice) as port:
        answer = await send(port, iter([b"".join(requests)]))
    return re.sub(rb"date: [^\r]+", b"date: now", answer)


def _get(path: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join([b"GET %b HTTP/1.1" % path, b"host: naru", *lines, b"", b""])


async def test_an_answer_sent_at_once_is_the_same_byte_by_byte() -> None:
    close = _get(b"/steps", b"connection: close")
    at_once = await _answers(_get(b"/"), _get(b"/?0"), close)
    assert at_once == await _answers(_get(b"/steps"), _get(b"/steps?0"), close)


@pytest.mark.parametrize(
    "asked",
    [_get(b"/", b"connection: close"), _get(b"/?100000", b"connection: close")],
    ids=["a connection that ends", "a long body"],
)
async def test_what_can_not_be_sent_at_once_takes_its_steps(asked: bytes) -> None:
    answer = await _answers(asked)
    assert b"x-steps: yes" in answer


async def test_a_request_is_forgotten_without_a_garbage_collection() -> None:
    served: list[weakref.ref[object]] = []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        served.append(weakref.ref(receive.__self__))
        keep_server_send(scope, send)
        await count(scope, receive, send)

    gc.disable()
    try:
        async with serving(note) as port:
            for _ in range(2):
                await send(port, iter([START + b"connection: close\r\ncontent-length: 1\r\n\r\nx"]))
            async with asyncio.timeout(10):
                while any(cycle() for cycle in served):
                    await asyncio.sleep(0.01)
    finally:
        gc.enable()
    assert len(served) == 2
