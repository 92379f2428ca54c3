"""Work that ends when nobody waits for it any more."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from litestar import Request
from litestar.types import Receive

from config.tasks import end_task
from gateway.errors import ClientGone
from gateway.govern.charge import CLIENT_GONE, SERVER_SHUTDOWN, current_exchange

_SHORT_S = 0.05
_PATIENCE_S = 0.5
_Result = TypeVar("_Result")


async def while_connected(
    request: Request[Any, Any, Any], work: Coroutine[Any, Any, _Result]
) -> _Result:
    """Return what the work gives; cancel it as soon as the client leaves.

    The request's body must have been read.

    Raises:
        ClientGone: The client left; nobody sees this answer.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(client_left(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone("the client left", code=CLIENT_GONE)
        return working.result()
    except asyncio.CancelledError:
        # The server ends, and its grace time is over.
        current_exchange().left = SERVER_SHUTDOWN
        raise
    finally:
        for task in (leaving, working):
            await end_task(task)


class Attended:
    """Work in the task that enters it, which is cancelled when the client leaves.

    The same as `while_connected` without tasks of its own for what takes a few milliseconds. Who
    works here ends no part of the work by cancelling it: that would look like the server's end.

    Raises:
        ClientGone: The client left; nobody sees this answer.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._exchange = current_exchange()
        self._watching: asyncio.Task[None] | None = None
        self._cancels = 0

    def __enter__(self) -> Self:
        self._working = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_SHORT_S, self._watch)
        self._exchange.left = SERVER_SHUTDOWN
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if error is None and self._watching is None:
            self._exchange.left = CLIENT_GONE
        else:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if watching := self._watching:
            watching.cancel()
            # The traceback of its end holds this: nothing else may, or it waits for a collection.
            self._watching = None
        cancelled = isinstance(error, asyncio.CancelledError)
        if not (cancelled and not self._cancels):
            self._exchange.left = CLIENT_GONE
        if self._cancels and self._undo() == 0 and cancelled:
            raise ClientGone("the client left", code=CLIENT_GONE) from None

    def _undo(self) -> int:
        """Take our cancellations back; return how many others there are."""
        assert self._working is not None, "it was entered"  # noqa: S101
        for _ in range(self._cancels):
            self._working.uncancel()
        return self._working.cancelling()

    def _watch(self) -> None:
        self._watching = asyncio.create_task(self._cancel())

    async def _cancel(self) -> None:
        await client_left(self._receive)
        self._exchange.left = CLIENT_GONE
        while self._working:
            # Once may not do, see `end_task`.
            self._cancels += 1
            self._working.cancel()
            await asyncio.sleep(_PATIENCE_S)


async def client_left(receive: Receive) -> None:
    """Return when the client has closed the connection; the request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
