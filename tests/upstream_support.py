"""A local server that plays a hosted API: the hosted internet is the one thing tests fake."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

COMPLETION = b'{"id":"c","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
HI = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Upstream:
    """The upstream: `answer` is what it does, `asked` what it was sent."""

    url: str = ""
    answer: Answer = field(default=lambda _: json_answer(COMPLETION))
    asked: list[dict[str, object]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def stream(self, *frames: bytes, hang: bool = False) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            for frame in frames:
                await response.write(frame)
            try:
                if hang:
                    await asyncio.Event().wait()
            finally:
                self.left.set()
            return response

        self.answer = answer


async def json_answer(body: bytes, status: int = 200, **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(body=body, status=status, content_type="application/json", headers=named)


@asynccontextmanager
async def play_upstream() -> AsyncIterator[Upstream]:
    """Serve OpenAI's routes of generation until the context ends; it may pass for an engine too."""
    state = Upstream()

    async def handle(request: web.Request) -> web.StreamResponse:
        state.asked.append(msgspec.json.decode(await request.read()))
        state.headers.append(dict(request.headers))
        return await state.answer(request)

    async def models(_: web.Request) -> web.Response:
        return await json_answer(b'{"data":[{"id":"gpt-x"}]}')

    application = web.Application()
    for path in ("chat/completions", "completions", "embeddings", "moderations"):
        application.router.add_post(f"/v1/{path}", handle)
    application.router.add_get("/v1/models", models)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    state.url = f"http://127.0.0.1:{port}/v1"
    yield state
    await runner.cleanup()
