"""Parsing in a child process with limits on time and memory: a bad document hurts only itself.

`python -m rag.parse.apart SUFFIX SECONDS CHARS` reads the file from standard input and writes a
`_Result` in msgpack to standard output.
"""

import asyncio
import ctypes
import os
import resource
import signal
import sys
from pathlib import PurePath

import msgspec

from rag.chunk import chunk_pages
from rag.errors import UnreadableDocument
from rag.parse import parse
from rag.types import Chunk

_MEMORY_BYTES = 2 << 30
_PR_SET_PDEATHSIG = 1
_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LC_ALL")


class _Result(msgspec.Struct):
    """The document's chunks, or why there are none."""

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
    argv = (sys.executable, "-m", "rag.parse.apart", suffix, str(timeout_s), str(chunk_chars))
    child = await asyncio.create_subprocess_exec(
        *argv,
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
    return _chunks(output)


def _chunks(output: bytes) -> list[Chunk]:
    result = msgspec.msgpack.decode(output, type=_Result)
    if result.reason:
        raise UnreadableDocument(result.reason, code=result.code)
    return result.chunks


def _limit(timeout_s: float) -> None:
    """Bound this process, also for the case that nobody is left to kill it."""
    seconds = int(timeout_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _read(filename: str, data: bytes, chunk_chars: int) -> _Result:
    try:
        return _Result(chunk_pages(parse(filename, data), chunk_chars))
    except UnreadableDocument as error:
        return _Result(reason=error.reason, code=error.code)
    except MemoryError:
        return _Result(reason="the file takes too much memory to read", code="invalid_file")


def main() -> int:
    """Read one document; return the exit status."""
    suffix, timeout_s, chunk_chars = sys.argv[1:]
    _limit(float(timeout_s))
    # PDFium may write to standard output; the answer goes to a copy only we know.
    answer = os.dup(1)
    os.dup2(2, 1)
    result = _read(f"document{suffix}", sys.stdin.buffer.read(), int(chunk_chars))
    with os.fdopen(answer, "wb") as output:
        output.write(msgspec.msgpack.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
