"""Three web workers that tests set on fire, started once."""

from collections.abc import AsyncIterator

import pytest
from fire_support import Fire, under_fire


@pytest.fixture(scope="session")
async def three(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fire]:
    async with under_fire(tmp_path_factory.mktemp("fire")) as fire:
        yield fire


@pytest.fixture
async def fire(three: Fire) -> Fire:
    """All of them are alive."""
    await three.until_alive()
    three.upstream.pause_s = 0.0
    return three
