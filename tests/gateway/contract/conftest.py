"""The web application in front of the real engine."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openai
import pytest
import uvicorn
from engine_support import RunningEngine
from gateway_support import Service, client_of

from config.settings import Settings
from gateway.app import create_app


@pytest.fixture(scope="session")
async def engine_service(
    service: Service, redis_url: str, sockets: Path, data_dir: Path, engine: RunningEngine
) -> AsyncIterator[Service]:
    """A second replica of `service`, which has the engine as the model `tiny`."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        settings = Settings.model_validate(
            {
                "data_dir": data_dir,
                "public_url": service.url,
                "database": {"url": service.database},
                "redis": {"url": redis_url},
                "server": {"port": port},
                "engines": {"tiny": {"urls": [engine.url]}},
                "models": {"tiny": ["engine/tiny"]},
            }
        )
        application = create_app(settings, sockets)
        server = uvicorn.Server(uvicorn.Config(application, ws="none", log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            assert not serving.done(), "the application did not start"
            await asyncio.sleep(0.01)
        yield Service(**{**vars(service), "url": f"http://127.0.0.1:{port}"})
        server.should_exit = True
        await serving


@pytest.fixture
async def engine_http(engine_service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(engine_service, engine_service.key) as client:
        yield client


@pytest.fixture
async def sdk(engine_service: Service) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{engine_service.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=engine_service.key) as client:
        yield client
