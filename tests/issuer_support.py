"""A local OIDC issuer, as Keycloak or Entra ID would be one."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from joserfc.jwk import ECKey, Key
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Issuer:
    """What it publishes is what stands in here at the moment; `asked` counts who looked.

    Attributes:
        answers: By path; replaces what is published there.
    """

    url: str = ""
    key: Key = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1"}))
    discovery: dict[str, object] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on, and publish it alone."""
        self.key = ECKey.generate_key("P-256", {"kid": kid})
        self.published = [dict(self.key.as_dict(private=False))]

    def sign(
        self,
        claims: dict[str, Any],
        header: dict[str, Any] | None = None,
        key: Key | None = None,
        alg: str = "ES256",
    ) -> str:
        """Return a token; a member of None is left out, `header` may lie about `alg`."""
        key = key or self.key
        members = {"alg": alg, "typ": "JWT", "kid": self.key.kid} | (header or {})
        parts = [
            urlsafe_b64encode(
                json.dumps({name: v for name, v in part.items() if v is not None}).encode()
            )
            for part in (members, claims)
        ]
        signature = JWSRegistry.algorithms[alg].sign(b".".join(parts), key)
        return b".".join([*parts, urlsafe_b64encode(signature)]).decode()


@asynccontextmanager
async def play_issuer(path: str = "/realms/acme") -> AsyncIterator[Issuer]:
    """Serve discovery document and keys until the context ends."""
    state = Issuer()
    state.published = [dict(state.key.as_dict(private=False))]

    async def publish(request: web.Request) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        state.asked[name] += 1
        if name in state.answers:
            return await state.answers[name](request)
        return web.json_response({"keys": state.published} if name == "keys" else state.discovery)

    application = web.Application()
    application.router.add_get(path.rstrip("/") + "/.well-known/openid-configuration", publish)
    application.router.add_get("/keys", publish)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    origin = f"http://127.0.0.1:{port}"
    state.url = origin + path
    state.discovery = {"issuer": state.url, "jwks_uri": origin + "/keys"}
    yield state
    await runner.cleanup()
