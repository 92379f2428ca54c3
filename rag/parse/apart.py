"""Parsing in a child process with limits on time and memory: a bad document hurts only itself."""

import asyncio
import os
import sys
from pathlib import PurePath

import msgspec

from rag.errors import UnreadableDocument
from rag.types import Chunk

_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LC_ALL")


class Result(msgspec.Struct):
    """What the child `python -m rag.parse` answers: chunks, or why there are none."""

    chunks: list[Chunk] = []
    reason: str = ""
    code: str = ""


async def read_document(
    filename: str, data: bytes, *, chunk_chars: int, timeout_s: float
) -> list[Chunk]:
    """Parse a document and cut it into chunks, in a process of its own.

    Raises:
        UnreadableDocument: It can't be read, took longer than `timeout_s` or too much memory.
    """
    # The name is the user's and would show in the list of processes; its end is enough.
    suffix = PurePath(filename).suffix
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rag.parse", suffix, str(timeout_s), str(chunk_chars)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Without our secrets.
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await child.communicate(data)
    except TimeoutError as error:
        raise UnreadableDocument(f"the file took longer than {timeout_s:g} s to read") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        raise UnreadableDocument("the file breaks the program that reads it: it may be damaged")
    return await asyncio.to_thread(_chunks, output)


def _chunks(output: bytes) -> list[Chunk]:
    result = msgspec.msgpack.decode(output, type=Result)
    if result.reason:
        raise UnreadableDocument(result.reason, code=result.code)
    return result.chunks
