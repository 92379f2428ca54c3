"""What tests of agents share."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from config.masking import MaskingSettings
from gateway.generation.models import Models
from gateway.govern.governor import Governor
from gateway.govern.masking.masking import Masking
from rag.testing import InMemoryEmbedder


@pytest.fixture
async def models() -> AsyncIterator[Models]:
    """`default` alone."""
    async with aiohttp.ClientSession() as http:
        yield Models({}, {}, {}, http, InMemoryEmbedder(), Governor(), Masking(MaskingSettings()))
