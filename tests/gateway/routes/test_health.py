"""Readiness while no target can be asked."""

import asyncio
from pathlib import Path

from gateway_support import Service, client_of, replica_of
from upstream_support import Upstream, json_answer

_BODY = {"model": "default", "messages": [{"role": "user", "content": "hello"}]}


async def test_where_no_target_can_be_asked_it_is_not_ready(
    service: Service, sockets: Path, data_dir: Path, redis_url: str, upstream: Upstream
) -> None:
    settings = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "providers": {"fake": {"base_url": upstream.url}},
        "models": {"default": ["fake/rests"]},
    }
    before = upstream.answer
    upstream.answer = lambda _: json_answer(b"{}", 500)
    try:
        async with (
            replica_of(service, sockets, settings) as replica,
            client_of(replica, replica.key) as http,
        ):
            assert (await http.get("/health/ready")).json() == {"status": "ready", "degraded": []}
            async with asyncio.timeout(60):
                while (ready := await http.get("/health/ready")).status_code == 200:
                    assert (await http.post("/v1/chat/completions", json=_BODY)).is_error
            assert ready.status_code == 503
            assert ready.json() == {
                "status": "unavailable",
                "degraded": [],
                "reason": "no target of any model can be asked",
            }
            # It rests for a time only: then somebody may try.
            async with asyncio.timeout(60):
                while (await http.get("/health/ready")).status_code != 200:
                    await asyncio.sleep(0.1)
    finally:
        upstream.answer = before
