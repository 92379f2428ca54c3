"""What the tests of the web application share."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from litestar import Litestar

from auth import NewClient
from config.settings import Settings
from gateway.app import create_app
from gateway.generation.breaker import Breaker
from gateway.generation.budget import RetryBudget
from gateway.generation.hosted import Hosted

AWAY = "http://127.0.0.1:9/issuer"
"""A trusted issuer that nobody answers for."""


@dataclass(frozen=True)
class Service:
    """A running service and its callers' credentials."""

    url: str
    database: str
    client: NewClient
    key: str
    colleague_key: str
    stranger_key: str
    reader_key: str
    librarian_key: str
    limited_key: str
    store: str
    app: Litestar

    def forget_retries(self) -> None:
        """Let every ladder ask again, whatever the tests before have used up."""
        models = self.app.state.services.models
        for ladder in models._aliases.values():
            ladder._budget = RetryBudget()
        for target in models._rungs:
            if breaker := self.breaker(target):
                breaker.reset()

    def breaker(self, target: str) -> Breaker | None:
        """Return what keeps requests away from a hosted target; None where there is none."""
        rung = self.app.state.services.models._rungs[target]
        while hasattr(rung, "_rung"):
            rung = rung._rung
        return rung._breaker if isinstance(rung, Hosted) else None


def client_of(service: Service, key: str | None) -> httpx.AsyncClient:
    """Return an HTTP client that sends `key`."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30)


@asynccontextmanager
async def replica_of(
    service: Service, sockets: Path, settings: Mapping[str, Any]
) -> AsyncIterator[Service]:
    """A second replica on the same stores; `settings` needs `data_dir` and `redis`."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        database = {**settings.get("database", {}), "url": service.database}
        shared = {"public_url": service.url, "database": database}
        own = {"server": {**settings.get("server", {}), "port": port}}
        application = create_app(Settings.model_validate({**settings, **shared, **own}), sockets)
        server = uvicorn.Server(uvicorn.Config(application, ws="none", log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            assert not serving.done(), "the application did not start"
            await asyncio.sleep(0.01)
        yield Service(**{**vars(service), "url": f"http://127.0.0.1:{port}"})
        server.should_exit = True
        await serving
