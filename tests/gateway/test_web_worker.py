"""How a web worker serves: whose word on the caller's address it takes, how long one may rest."""

import asyncio
import socket
import subprocess
import sys
from typing import Any

import httpx
import pytest
import uvicorn
from litestar import Litestar, Request, get

from config.settings import ServerSettings
from gateway.web_worker import _configuration


@get("/")
async def peer(request: Request[Any, Any, Any]) -> dict[str, str]:
    assert request.client is not None
    return {"host": request.client.host, "scheme": request.scope["scheme"]}


@pytest.mark.parametrize(
    ("trusted", "believed"),
    [([], False), (["10.0.0.0/8"], False), (["127.0.0.1"], True), (["127.0.0.0/8"], True)],
)
async def test_only_a_trusted_proxy_says_who_the_caller_is(
    trusted: list[str], believed: bool
) -> None:
    settings = ServerSettings.model_validate({"trusted_proxies": trusted})
    config: uvicorn.Config = _configuration(Litestar([peer], logging_config=None), settings)
    config.load()
    transport = httpx.ASGITransport(config.loaded_app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://naru") as http:
        headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
        said = (await http.get("/", headers=headers)).json()
    expected = ("203.0.113.9", "https") if believed else ("127.0.0.1", "http")
    assert (said["host"], said["scheme"]) == expected


async def test_a_connection_rests_longer_than_a_proxy_keeps_it() -> None:
    nginx_s = 60
    settings = ServerSettings()
    assert settings.keep_alive_s > nginx_s
    assert _configuration(Litestar([]), settings).timeout_keep_alive == settings.keep_alive_s


async def test_a_connection_that_has_rested_for_too_long_is_closed() -> None:
    app = Litestar([peer], logging_config=None)
    config: uvicorn.Config = _configuration(app, ServerSettings(keep_alive_s=1))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nhost: naru\r\n\r\n")
            assert b"200 OK" in await reader.readuntil(b"}")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        server.should_exit = True
        await serving


def test_a_web_worker_imports_nothing_large_that_few_need() -> None:
    code = (
        "import gateway.web_worker, sys; print({'obstore', 'snowballstemmer'} & set(sys.modules))"
    )
    argv = [sys.executable, "-c", code]
    found = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout == "set()\n"
