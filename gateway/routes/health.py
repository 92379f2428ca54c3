"""Probes. They touch nothing slow."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from litestar import Response, get

from gateway.engines.probe import is_up
from gateway.guards import PUBLIC
from gateway.lifespan import Provided

_PROBE_S = 1.0


class Live(msgspec.Struct):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(msgspec.Struct):
    """Whether requests can be served, and what is degraded."""

    status: Literal["starting", "ready", "degraded"]
    degraded: list[str]


@get("/health/live", opt=PUBLIC, tags=["health"], operation_id="live")
async def live() -> Live:
    """Tell that the process answers."""
    return Live()


@get("/health/ready", opt=PUBLIC, tags=["health"], operation_id="ready")
async def ready(services: Provided) -> Response[Ready]:
    """Tell whether requests can be served: 200, naming what is degraded.

    503 until every engine was up once; an engine that is away later is only named.
    """
    probes = {
        "database": services.pool.fetchval("SELECT 1"),
        "redis": services.redis.ping(),
        "embedding": services.embedders.check(),
        **({"bucket": services.storage.bucket.check()} if services.storage.bucket else {}),
        **({"reranker": services.reranker.check()} if services.reranker else {}),
        **{f"engine {name}": _one_up(urls) for name, urls in services.engines.items()},
    }
    results = await asyncio.gather(
        *(asyncio.wait_for(probe, _PROBE_S) for probe in probes.values()), return_exceptions=True
    )
    failed = [
        name
        for name, result in zip(probes, results, strict=True)
        if isinstance(result, BaseException)
    ]
    if services.starting and services.starting.exists():
        return Response(Ready("starting", failed), status_code=503)
    return Response(Ready("degraded" if failed else "ready", failed))


async def _one_up(urls: Sequence[str]) -> None:
    """Return when one of an engine's children is healthy.

    Raises:
        ConnectionError: None is.
    """
    sockets = [Path(url.removeprefix("unix://")) for url in urls]
    if not any(await asyncio.gather(*map(is_up, sockets))):
        raise ConnectionError
