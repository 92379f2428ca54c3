"""The web application in front of the real engine."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openai
import pytest
from engine_support import RunningEngine
from gateway_support import Service, client_of, replica_of


@pytest.fixture(scope="session")
async def engine_service(
    service: Service, redis_url: str, sockets: Path, data_dir: Path, engine: RunningEngine
) -> AsyncIterator[Service]:
    """A second replica of `service`, with the engine as the model `tiny`; `quotes` has none."""
    settings = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "engines": {"tiny": {"urls": [engine.url]}},
        "models": {"tiny": ["engine/tiny"], "quotes": ["extractive"]},
    }
    async with replica_of(service, sockets, settings) as opened:
        yield opened


@pytest.fixture
async def engine_http(engine_service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(engine_service, engine_service.key) as client:
        yield client


@pytest.fixture
async def sdk(engine_service: Service) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{engine_service.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=engine_service.key) as client:
        yield client
