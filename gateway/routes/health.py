"""Probes. They touch nothing slow."""

import asyncio
from typing import Literal

import msgspec
from litestar import Response, get

from gateway.guards import PUBLIC
from gateway.lifespan import Provided

_PROBE_S = 1.0


class Live(msgspec.Struct):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(msgspec.Struct):
    """Whether requests can be served, and what is degraded."""

    status: Literal["ready", "degraded"]
    degraded: list[str]


@get("/health/live", opt=PUBLIC, tags=["health"], operation_id="live")
async def live() -> Live:
    """Tell that the process answers."""
    return Live()


@get("/health/ready", opt=PUBLIC, tags=["health"], operation_id="ready")
async def ready(services: Provided) -> Response[Ready]:
    """Tell whether requests can be served: 200, naming what is degraded."""
    probes = {
        "database": services.pool.fetchval("SELECT 1"),
        "redis": services.redis.ping(),
        "embedding": services.embedder.check(),
    }
    results = await asyncio.gather(
        *(asyncio.wait_for(probe, _PROBE_S) for probe in probes.values()), return_exceptions=True
    )
    failed = [
        name
        for name, result in zip(probes, results, strict=True)
        if isinstance(result, BaseException)
    ]
    return Response(Ready("degraded" if failed else "ready", failed))
