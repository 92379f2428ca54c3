"""A web server on this machine whose pages and faults a test decides."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Page:
    """What a path answers; `fault` in place of the page."""

    body: bytes
    type: str = "text/markdown"
    etag: str | None = None
    fault: str = ""


@dataclass
class Site:
    """The server's pages by path, and what it was asked: path and status of the answer."""

    port: int
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def put(self, path: str, body: str, **fields: str) -> str:
        """Set a page and return its URL."""
        self.pages[path] = Page(body.encode(), **fields)
        return self.url(path)


@asynccontextmanager
async def play_site() -> AsyncIterator[Site]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        site = Site(listening.getsockname()[1])

        async def answer(request: web.Request) -> web.StreamResponse:
            path = request.match_info["path"]
            response = await _answer(site, path, request)
            site.asked.append((path, response.status))
            return response

        application = web.Application()
        application.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        yield site
        await runner.cleanup()


async def _answer(site: Site, path: str, request: web.Request) -> web.StreamResponse:
    page = site.pages.get(path)
    if page is None:
        return web.Response(status=404)
    if page.fault.isdecimal():
        return web.Response(status=int(page.fault))
    if page.fault.startswith("to "):
        return web.Response(status=302, headers={"location": page.fault.removeprefix("to ")})
    if page.fault == "silent":
        await asyncio.Event().wait()
    if page.fault == "cut":
        return await _cut(request, page)
    if page.etag and request.headers.get("if-none-match") == page.etag:
        return web.Response(status=304)
    headers = {"etag": page.etag} if page.etag else {}
    if page.fault == "gzip":
        headers["content-encoding"] = "gzip"
    return web.Response(body=page.body, content_type=page.type, headers=headers)


async def _cut(request: web.Request, page: Page) -> web.StreamResponse:
    """Half of the body, and then the end of the connection."""
    response = web.StreamResponse(headers={"content-length": str(len(page.body))})
    await response.prepare(request)
    await response.write(page.body[: len(page.body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response
