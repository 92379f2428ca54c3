"""Work that ends when nobody waits for it any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from litestar import Request
from litestar.types import Receive

from config.tasks import end_task
from gateway.errors import ClientGone
from gateway.govern.charge import SERVER_SHUTDOWN, current_exchange

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
            raise ClientGone("the client left", code="client_gone")
        return working.result()
    except asyncio.CancelledError:
        # The server ends, and its grace time is over.
        current_exchange().left = SERVER_SHUTDOWN
        raise
    finally:
        for task in (leaving, working):
            await end_task(task)


async def client_left(receive: Receive) -> None:
    """Return when the client has closed the connection; the request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
