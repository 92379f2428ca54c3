"""The load test's mock upstream, on a port of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from upstream import Connection, Script, Upstream


@asynccontextmanager
async def serving(factory: Callable[[], asyncio.Protocol]) -> AsyncIterator[str]:
    """Serve with that protocol; give the URL without a path."""
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def mock(**script: float) -> Callable[[], asyncio.Protocol]:
    """The mock's protocol, following that script."""
    upstream = Upstream(Script(**script))
    return lambda: Connection(upstream)
