"""Every request's way in and out: what it may take before, one settlement after."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.govern.charge import Charge


class Governor:
    """Governs the requests of one process."""

    def __init__(self) -> None:
        self._settling: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def governing(self, charge: Charge) -> AsyncIterator[None]:
        """Reserve for the request on entry, settle on exit, whatever its ending.

        Raises:
            GatewayError: The request is refused.
        """
        await self.begin(charge)
        try:
            yield
        except BaseException as error:
            charge.end(error)
            raise
        else:
            charge.end()
        finally:
            await self.settle(charge)

    async def begin(self, charge: Charge) -> None:
        """Reserve what the request may take.

        Raises:
            GatewayError: It is refused; there is nothing to settle.
        """

    async def settle(self, charge: Charge) -> None:
        """Settle once what the request took; shielded: who is cancelled leaves it running."""
        await asyncio.shield(self.settle_soon(charge))

    def settle_soon(self, charge: Charge) -> asyncio.Task[None]:
        """Settle where nobody can wait."""
        task = asyncio.create_task(self._settle(charge))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    async def close(self) -> None:
        """Wait for what is being settled."""
        await asyncio.gather(*self._settling, return_exceptions=True)

    async def _settle(self, charge: Charge) -> None:
        charge.end()
