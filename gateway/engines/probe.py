"""Asking an engine's child over its Unix socket: is it up, and one request to warm it."""

import asyncio
from pathlib import Path

import msgspec

_HEALTH_S = 5.0
_WARM_UP_S = 300.0


async def is_up(socket: Path) -> bool:
    """Tell whether the engine behind a socket says that it is healthy."""
    return await _status(socket, b"GET /health HTTP/1.1\r\n", b"", _HEALTH_S) == 200


async def warm_up(socket: Path, model: str) -> None:
    """Let the engine generate once: what it compiles or loads late is then done.

    A model that doesn't generate refuses it, which is no fault.
    """
    body = msgspec.json.encode({"model": model, "prompt": "Hello", "max_tokens": 2})
    await _status(socket, b"POST /v1/completions HTTP/1.1\r\n", body, _WARM_UP_S)


async def _status(socket: Path, request: bytes, body: bytes, limit_s: float) -> int:
    """Return the status of one answer; 0 when none comes."""
    head = (
        b"host: engine\r\nconnection: close\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    )
    try:
        async with asyncio.timeout(limit_s):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(request + head + body)
                line = await reader.readline()
            finally:
                writer.close()
    except OSError:  # TimeoutError with it
        return 0
    words = line.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
