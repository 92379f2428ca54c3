"""The real nginx with the configuration of `deploy/`: streams pass as they come."""

import asyncio
import contextlib
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from support import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
OPENSSL = shutil.which("openssl")
CONFIGURATION = (Path(__file__).parents[2] / "deploy" / "nginx" / "naru.conf").read_text()

pytestmark = pytest.mark.skipif(
    not (NGINX and OPENSSL), reason="no nginx or no openssl (apt: nginx-light, openssl)"
)


class Gateways:
    """Two upstreams; what they were asked, and what lets the second half of a stream go."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.left = 0
        self.next_part = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        self.bodies.append(await request.read())
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        try:
            await self.next_part.wait()
            await response.write(b"data: second\n\n")
        except (ConnectionError, asyncio.CancelledError):
            self.left += 1
            raise
        return response


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix for nginx, with a certificate of its own."""
    path = tmp_path_factory.mktemp("nginx")
    (path / "tls").mkdir()
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", f"{path}/tls/tls.key", "-out", f"{path}/tls/tls.crt"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "1"]
    assert OPENSSL
    command = [OPENSSL, "req", "-x509", *key, *files, *subject]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


def configure(folder: Path, gateways: list[int], https: int, http: int) -> Path:
    """Write the configuration as it stands, with other places and ports only."""
    text = CONFIGURATION
    for number, port in enumerate(gateways, 1):
        text = text.replace(f"gateway-{number}:8080", f"127.0.0.1:{port}")
    text = text.replace("/etc/nginx/tls", f"{folder}/tls").replace("/dev/stdout", f"{folder}/log")
    text = text.replace("listen 443", f"listen 127.0.0.1:{https}")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{http};")
    temporary = "".join(
        f"    {name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\n{temporary}{text}}}\n"
    )
    return file


@pytest.fixture
async def gateways() -> AsyncIterator[tuple[Gateways, int]]:
    behind = Gateways()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", behind.answer)
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield behind, port
    behind.next_part.set()
    await runner.cleanup()


@pytest.fixture
async def proxy(
    folder: Path, gateways: tuple[Gateways, int]
) -> AsyncIterator[tuple[str, str, aiohttp.ClientSession]]:
    """nginx with one gateway that lives and one that refuses connections."""
    https, http = free_port(), free_port()
    file = configure(folder, [gateways[1], free_port()], https, http)
    assert NGINX
    child = await asyncio.create_subprocess_exec(
        NGINX, "-p", str(folder), "-c", str(file), stderr=asyncio.subprocess.PIPE
    )
    context = ssl.create_default_context(cafile=str(folder / "tls" / "tls.crt"))
    connector = aiohttp.TCPConnector(ssl=context)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client:
        await wait_until_open(https)
        yield f"https://127.0.0.1:{https}", f"http://127.0.0.1:{http}", client
    child.terminate()
    await asyncio.wait_for(child.wait(), 30)


async def wait_until_open(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


def test_nginx_takes_it(folder: Path) -> None:
    file = configure(folder, [free_port(), free_port()], free_port(), free_port())
    assert NGINX
    ran = subprocess.run(
        [NGINX, "-t", "-p", str(folder), "-c", str(file)],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr.decode()


async def test_a_stream_passes_as_it_comes(
    proxy: tuple[str, str, aiohttp.ClientSession], gateways: tuple[Gateways, int]
) -> None:
    """The first event is here while the gateway still holds the second back."""
    url, _, client = proxy
    behind = gateways[0]
    body = {"stream": True, "text": "x" * 200_000}
    async with client.post(f"{url}/v1/chat/completions", json=body) as answer:
        async with asyncio.timeout(30):
            assert await answer.content.readuntil(b"\n\n") == b"data: first\n\n"
        assert not behind.next_part.is_set()
        behind.next_part.set()
        assert await answer.content.read() == b"data: second\n\n"
        assert "content-encoding" not in answer.headers
        assert answer.headers["strict-transport-security"].startswith("max-age=")
    (request,) = behind.asked
    assert len(behind.bodies[0]) > 200_000
    assert request.headers["x-forwarded-for"] == "127.0.0.1"
    assert request.headers["x-forwarded-proto"] == "https"


async def test_a_caller_can_t_say_who_it_is(
    proxy: tuple[str, str, aiohttp.ClientSession], gateways: tuple[Gateways, int]
) -> None:
    url, _, client = proxy
    gateways[0].next_part.set()
    spoofed = {"x-forwarded-for": "10.0.0.1, 10.0.0.2", "x-forwarded-proto": "http"}
    async with client.get(f"{url}/v1/models", headers=spoofed) as answer:
        await answer.read()
    assert gateways[0].asked[0].headers["x-forwarded-for"] == "127.0.0.1"


async def test_who_leaves_is_gone_behind_it_too(
    proxy: tuple[str, str, aiohttp.ClientSession], gateways: tuple[Gateways, int]
) -> None:
    url, _, client = proxy
    answer = await client.post(f"{url}/v1/chat/completions", json={"stream": True})
    await answer.content.readuntil(b"\n\n")
    assert answer.connection
    assert answer.connection.transport
    answer.connection.transport.abort()  # close() would wait for nginx's own goodbye
    async with asyncio.timeout(30):
        while not gateways[0].left:
            await asyncio.sleep(0.02)


async def test_a_gateway_that_is_away_costs_no_request(
    proxy: tuple[str, str, aiohttp.ClientSession], gateways: tuple[Gateways, int]
) -> None:
    url, _, client = proxy
    gateways[0].next_part.set()
    for _ in range(6):
        async with client.post(f"{url}/v1/chat/completions", json={}) as answer:
            assert answer.status == 200
            await answer.read()
    assert len(gateways[0].asked) == 6


async def test_metrics_and_plain_http_are_not_for_callers(
    proxy: tuple[str, str, aiohttp.ClientSession], gateways: tuple[Gateways, int]
) -> None:
    https, http, client = proxy
    async with client.get(f"{https}/metrics") as answer:
        assert answer.status == 404
    async with client.post(f"{http}/oauth/token", allow_redirects=False) as answer:
        assert answer.status == 308
        assert answer.headers["location"].startswith("https://")
    assert gateways[0].asked == []


def test_nothing_waits_shorter_than_the_gateway() -> None:
    """The gateway's longest answer is 600 s by default; nginx must not be first."""
    waits = re.findall(r"proxy_(?:read|send)_timeout (\d+)s;", CONFIGURATION)
    assert len(waits) == 2
    assert all(int(each) > 600 for each in waits)
