"""A client of the running service."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp

from config.errors import ConfigError
from gateway.credentials import Credentials

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120)
# The service closes a connection after five idle seconds: nothing is sent on one that old.
_IDLE_S = 2.0


@asynccontextmanager
async def connect(credentials: Credentials) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session on the service, with a key or a token where there is one to be had.

    Raises:
        ConfigError: The service does not answer or refuses the client.
    """
    bearer = credentials.api_key or await fetch_token(credentials, [])
    headers = {"authorization": f"Bearer {bearer}"}
    async with _session(credentials, headers) as session:
        yield session


async def call(
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    *,
    json: object = None,
    data: aiohttp.FormData | None = None,
) -> dict[str, Any]:
    """Return what the service answers.

    Raises:
        ConfigError: It refuses; says why.
    """
    async with session.request(method, path, json=json, data=data) as response:
        answer = await response.json(content_type=None)
    if response.status >= 400:
        raise ConfigError(f"{method} {path}: {answer['error']['message']}")
    return dict(answer)


def segment(name: str) -> str:
    """Return a name as it stands in a path; whatever it holds, it stays one segment.

    Raises:
        ConfigError: It can be none.
    """
    if name in ("", ".", ".."):
        raise ConfigError(f"{name!r} is no id")
    return quote(name, safe="@", errors="replace")


async def fetch_token(credentials: Credentials, scopes: Sequence[str]) -> str:
    """Return an access token for the client (RFC 6749 section 4.4).

    Raises:
        ConfigError: The service does not answer or refuses the client.
    """
    if not (credentials.client_id and credentials.client_secret):
        raise ConfigError("set NARU_CLIENT_ID and NARU_CLIENT_SECRET, or NARU_API_KEY")
    form = {"grant_type": "client_credentials"} | ({"scope": " ".join(scopes)} if scopes else {})
    basic = aiohttp.encode_basic_auth(credentials.client_id, credentials.client_secret)
    async with (
        _session(credentials, {"authorization": basic}) as session,
        session.post("/oauth/token", data=form) as response,
    ):
        answer = await response.json(content_type=None)
    if response.status != 200:
        reason = answer.get("error_description") or answer.get("error")
        raise ConfigError(f"no token from {credentials.url}: {reason}")
    return str(answer["access_token"])


@asynccontextmanager
async def _session(
    credentials: Credentials, headers: dict[str, str]
) -> AsyncIterator[aiohttp.ClientSession]:
    try:
        connector = aiohttp.TCPConnector(keepalive_timeout=_IDLE_S)
        async with aiohttp.ClientSession(
            credentials.url, headers=headers, timeout=_TIMEOUT, connector=connector
        ) as session:
            yield session
    except (aiohttp.ClientConnectionError, TimeoutError, asyncio.IncompleteReadError):
        raise ConfigError(
            f"{credentials.url} does not answer: start the service with `make run`"
        ) from None
    except (aiohttp.InvalidURL, ValueError):
        raise ConfigError(f"{credentials.url} is not the address of a Naru") from None
