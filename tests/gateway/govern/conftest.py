"""Counters in the real Redis, by a clock of the test's."""

from collections.abc import AsyncIterator

import pytest
from govern_support import CLOCKED, Clock, Scene

from gateway.govern.limits_redis import Counters
from gateway.govern.limits_script import open_counting


@pytest.fixture
async def scene(redis_url: str) -> AsyncIterator[Scene]:
    async with open_counting(redis_url) as client:
        clock = Clock(client)
        await clock.go(0)
        counters = Counters(client, CLOCKED)
        yield Scene(client, clock, counters)
        await counters.close()
