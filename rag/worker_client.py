"""The client of a model's worker process: concurrent requests share one Unix socket."""

import asyncio
import contextlib
from pathlib import Path

import msgspec

from config.tasks import end_task
from rag.embedding_wire import Request, Response, Withdrawal, frame, read_frame

_CONNECT_TIMEOUT_S = 5.0


class WorkerFailed(Exception):
    """The worker gave no answer, or its model failed."""


class WorkerClient:
    """Connects at first use, and again when it must."""

    def __init__(self, socket: Path, timeout_s: float) -> None:
        self.socket = socket
        self._timeout_s = timeout_s
        self._writer: asyncio.StreamWriter | None = None
        self._reader_task: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._last_id = 0

    async def ask(self, request: Request) -> Response:
        """Send a request, which gets an id here; return its answer.

        Raises:
            WorkerFailed: Nobody listens, there was no answer in time, or the model failed.
        """
        self._last_id += 1
        request.id = self._last_id
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._send(request)
        except (OSError, TimeoutError) as error:
            raise WorkerFailed(f"its worker gave no answer: {error!r}") from error
        if response.error:
            raise WorkerFailed(response.error)
        return response

    async def _send(self, request: Request) -> Response:
        writer = await self._connected()
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = answer
        try:
            writer.write(frame(msgspec.msgpack.encode(request)))
            await writer.drain()
            return await answer
        finally:
            del self._waiting[request.id]
            if (not answer.done() or answer.cancelled()) and not writer.is_closing():
                writer.write(frame(msgspec.msgpack.encode(Withdrawal(request.id))))

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    reader, self._writer = await asyncio.open_unix_connection(self.socket)
                self._reader_task = asyncio.create_task(self._receive(reader, self._writer))
            return self._writer

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = msgspec.msgpack.Decoder(Response)
        try:
            while True:
                response = decoder.decode(await read_frame(reader))
                answer = self._waiting.get(response.id)
                if answer and not answer.done():
                    answer.set_result(response)
        except (OSError, EOFError, msgspec.DecodeError) as error:
            writer.close()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionError(f"the worker hung up: {error!r}"))

    async def close(self) -> None:
        """Close the connection; requests under way fail."""
        if self._reader_task:
            await end_task(self._reader_task)
        if self._writer:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
