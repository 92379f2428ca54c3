"""The process behind `rag.parse.apart`: `python -m rag.parse SOCKET`.

Forks a child for each connection, which tells its process id, reads one `Task` and answers with one
`Result`. It says `ready` on standard output, loads a `RulerSource` for each line of standard input
(JSON), and ends when that closes.
"""

import contextlib
import ctypes
import functools
import gc
import os
import resource
import select
import signal
import socketserver
import struct
import sys
from pathlib import Path, PurePath
from typing import Any

import msgspec

from rag.chunk import chunk_pages, embedded_texts
from rag.embedding_wire import frame
from rag.errors import UnreadableDocument
from rag.parse.apart import Reading, Result, Task
from rag.parse.document import parse
from rag.ruler import RulerSource, open_ruler

_MEMORY_BYTES = 2 << 30
_PR_SET_PDEATHSIG = 1
_POLL_S = 0.2


def _limit(timeout_s: float) -> None:
    """Bound this process, also for the case that nobody is left to kill it."""
    seconds = int(timeout_s) + 1
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


_ruler = functools.cache(open_ruler)


def _read(task: Task) -> Result:
    try:
        return Result(_prepare(task))
    except UnreadableDocument as error:
        return Result(reason=error.reason, code=error.code)
    except MemoryError:
        return Result(reason="the file takes too much memory to read", code="invalid_file")


def _prepare(task: Task) -> Reading:
    ruler = _ruler(task.ruler)
    name = f"document{PurePath(task.filename).suffix}"
    chunks = chunk_pages(parse(name, task.data), task.cut, ruler, task.filename)
    return Reading(chunks, embedded_texts(chunks, task.filename, ruler))


class _Child(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(struct.pack(">I", os.getpid()))
        (length,) = struct.unpack(">I", self.rfile.read(4))
        task = msgspec.msgpack.decode(self.rfile.read(length), type=Task)
        _limit(task.timeout_s)
        self.wfile.write(frame(msgspec.msgpack.encode(_read(task))))


class _Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    max_children = 64
    request_queue_size = 128
    _begun = b""

    def service_actions(self) -> None:
        super().service_actions()
        if select.select([0], [], [], 0)[0]:
            self._listen(os.read(0, 65536))

    def _listen(self, said: bytes) -> None:
        """Load the tokenizers that come line by line; end when nobody is there any more."""
        if not said:
            raise SystemExit
        *lines, self._begun = (self._begun + said).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):  # its children tell it
                _ruler(msgspec.json.decode(line, type=RulerSource))
        gc.freeze()

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer, in the child: what takes it over must not take other documents off the queue."""
        self.socket.close()
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Name the error's type alone: the rest may quote the document."""
        del request, client_address
        sys.stderr.write(f"reading a document broke off: {sys.exc_info()[0]}\n")


def main() -> int:
    """Serve until standard input closes; return the exit status."""
    Path(sys.argv[1]).unlink(missing_ok=True)
    server = _Server(sys.argv[1], _Child)
    # A library may write to standard output.
    ready = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # What is there now is shared with every child, and never looked at by its collector.
    gc.freeze()
    ready.write("ready\n")
    ready.close()
    server.serve_forever(_POLL_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
