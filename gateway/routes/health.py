"""Probes. They touch nothing slow."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from litestar import Response, get
from litestar.datastructures import State

from gateway.engines.probe import is_up
from gateway.guards import PUBLIC
from gateway.lifespan import Provided

_PROBE_S = 1.0


class Live(msgspec.Struct):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(msgspec.Struct, omit_defaults=True):
    """Whether requests can be served, and what is degraded."""

    status: Literal["starting", "draining", "unavailable", "ready", "degraded"]
    degraded: list[str]
    reason: str | None = None


@get("/health/live", opt=PUBLIC, tags=["health"], operation_id="live")
async def live() -> Live:
    """Tell that the process answers."""
    return Live()


@get("/health/ready", opt=PUBLIC, tags=["health"], operation_id="ready")
async def ready(services: Provided, state: State) -> Response[Ready]:
    """Tell whether requests can be served: 200, naming what is degraded.

    503 with the reason until every engine was up once, from the moment when the service is told to
    stop, and while no target of any model can be asked.
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
    if state.refused.exists():
        failed.append("settings")
    if state.get("draining"):
        return _not_ready("draining", failed, "the server is shutting down")
    if services.starting and services.starting.exists():
        return _not_ready("starting", failed, "an engine was not up yet")
    if not services.models.usable:
        return _not_ready("unavailable", failed, "no target of any model can be asked")
    return Response(Ready("degraded" if failed else "ready", failed))


def _not_ready(
    status: Literal["starting", "draining", "unavailable"], failed: list[str], reason: str
) -> Response[Ready]:
    return Response(Ready(status, failed, reason), status_code=503)


async def _one_up(urls: Sequence[str]) -> None:
    """Return when one of an engine's children is healthy.

    Raises:
        ConnectionError: None is.
    """
    sockets = [Path(url.removeprefix("unix://")) for url in urls]
    if not any(await asyncio.gather(*map(is_up, sockets))):
        raise ConnectionError
