"""The child of `rag.parse.apart`: `python -m rag.parse SUFFIX SECONDS CHUNK_CHARS`.

Reads one file from standard input and writes a `Result` in msgpack to standard output.
"""

import ctypes
import os
import resource
import signal
import sys

import msgspec

from rag.chunk import chunk_pages
from rag.errors import UnreadableDocument
from rag.parse import parse
from rag.parse.apart import Result

_MEMORY_BYTES = 2 << 30
_PR_SET_PDEATHSIG = 1


def _limit(timeout_s: float) -> None:
    """Bound this process, also for the case that nobody is left to kill it."""
    seconds = int(timeout_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _read(filename: str, data: bytes, chunk_chars: int) -> Result:
    try:
        return Result(chunk_pages(parse(filename, data), chunk_chars))
    except UnreadableDocument as error:
        return Result(reason=error.reason, code=error.code)
    except MemoryError:
        return Result(reason="the file takes too much memory to read", code="invalid_file")


def main() -> int:
    """Read one document; return the exit status."""
    suffix, timeout_s, chunk_chars = sys.argv[1:]
    _limit(float(timeout_s))
    # A library may write to standard output; the answer goes to a copy only we know.
    answer = os.dup(1)
    os.dup2(2, 1)
    result = _read(f"document{suffix}", sys.stdin.buffer.read(), int(chunk_chars))
    with os.fdopen(answer, "wb") as output:
        output.write(msgspec.msgpack.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
