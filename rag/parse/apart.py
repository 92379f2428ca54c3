"""Parsing in processes apart, with limits on time and memory: a bad document hurts only itself.

`python -m rag.parse` has everything loaded and forks a child for each document, which takes some
milliseconds where a new interpreter takes half a second.
"""

import asyncio
import contextlib
import os
import signal
import struct
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from rag.chunk import Cut
from rag.embedding_wire import frame, read_frame
from rag.errors import UnreadableDocument
from rag.ruler import RulerSource
from rag.types import Chunk

_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LC_ALL")
_START_S = 60.0


class Task(msgspec.Struct):
    """What a child is asked: a file's name and bytes, how to cut it, and for which model."""

    filename: str
    timeout_s: float
    cut: Cut
    ruler: RulerSource
    data: bytes


class Reading(msgspec.Struct):
    """What was read: chunks, and what an embedding model reads of each."""

    chunks: list[Chunk]
    texts: list[str]


class Result(msgspec.Struct):
    """What a child answers: what it read, or why it did not."""

    reading: Reading | None = None
    reason: str = ""
    code: str = ""


class Parser:
    """The client of the process that forks; it is started at first use, and again when it died."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._server: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._told: set[RulerSource] = set()

    async def read(
        self, filename: str, data: bytes, *, cut: Cut, ruler: RulerSource, timeout_s: float
    ) -> Reading:
        """Parse a document and cut it into chunks, in a process of its own.

        Raises:
            UnreadableDocument: It can't be read, took longer than `timeout_s` or too much memory.
            OSError: The process that forks can't be started.
        """
        task = Task(filename, timeout_s, cut, ruler, data)
        await self._start()
        self._tell(ruler)
        try:
            async with asyncio.timeout(timeout_s):
                output = await self._ask(task)
        except TimeoutError as error:
            reason = f"the file took longer than {timeout_s:g} s to read"
            raise UnreadableDocument(reason) from error
        except (EOFError, ConnectionError) as error:
            reason = "the file breaks the program that reads it: it may be damaged"
            raise UnreadableDocument(reason) from error
        return await asyncio.to_thread(_reading, output)

    async def close(self) -> None:
        """End the process that forks, and with it its children."""
        if self._server is not None and self._server.returncode is None:
            self._server.kill()
            await self._server.wait()

    async def _start(self) -> None:
        async with self._starting:
            if self._server is not None and self._server.returncode is None:
                return
            self._told.clear()
            server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "rag.parse", str(self._socket)),
                stdin=asyncio.subprocess.PIPE,  # its closing tells the end of this process
                stdout=asyncio.subprocess.PIPE,
                # Without our secrets.
                env={
                    **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                    "TOKENIZERS_PARALLELISM": "false",
                },
            )
            try:
                await self._until_ready(server)
            except BaseException:  # also where the document is not wanted any more
                with contextlib.suppress(ProcessLookupError):
                    server.kill()
                await server.wait()
                raise
            self._server = server

    async def _until_ready(self, server: asyncio.subprocess.Process) -> None:
        assert server.stdout is not None  # noqa: S101 - a pipe
        async with asyncio.timeout(_START_S):
            if await server.stdout.readline() != b"ready\n":
                raise OSError("the process that reads documents does not start")

    def _tell(self, ruler: RulerSource) -> None:
        """Have a model's tokenizer loaded once, before the next children are forked."""
        if ruler in self._told:
            return
        self._told.add(ruler)
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.write(msgspec.json.encode(ruler) + b"\n")

    async def _ask(self, task: Task) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        child = 0
        try:
            (child,) = struct.unpack(">I", await reader.readexactly(4))
            writer.write(frame(msgspec.msgpack.encode(task)))
            output = await read_frame(reader)
            child = 0
            return output
        finally:
            if child:
                # It has not answered, so it is still there.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            writer.close()


@contextlib.asynccontextmanager
async def open_parser() -> AsyncIterator[Parser]:
    """Yield a parser; its processes end with the context, or with this process."""
    with tempfile.TemporaryDirectory(prefix="naru-parse-") as folder:
        parser = Parser(Path(folder) / "socket")
        try:
            yield parser
        finally:
            await parser.close()


def _reading(output: bytes) -> Reading:
    result = msgspec.msgpack.decode(output, type=Result)
    if result.reading is None:
        raise UnreadableDocument(result.reason, code=result.code)
    return result.reading
