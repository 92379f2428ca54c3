"""How a web worker serves: whose word on the caller's address it takes."""

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


def test_a_web_worker_imports_nothing_large_that_few_need() -> None:
    code = (
        "import gateway.web_worker, sys; print({'obstore', 'snowballstemmer'} & set(sys.modules))"
    )
    argv = [sys.executable, "-c", code]
    found = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout == "set()\n"
