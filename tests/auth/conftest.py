"""A migrated database, a client in it, and the server and verifier that work on them."""

import base64
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

import asyncpg
import pytest
from auth_support import ISSUER, make_verifier

import auth
from auth.dpop import Nonces, Proofs
from config.postgres import migrate, open_pool
from config.settings import AuthSettings

Ask = Callable[..., Coroutine[Any, Any, auth.OAuthAnswer]]


@pytest.fixture(scope="session")
def box() -> auth.SecretBox:
    return auth.SecretBox("a secret of at least 32 characters")


@pytest.fixture(scope="session")
async def database(postgres_server: str) -> str:
    """One migrated database for all tests of this folder: making one takes 0.2 s."""
    owner = await asyncpg.connect(postgres_server)
    await owner.execute("CREATE DATABASE auth_tests")
    await owner.close()
    url = postgres_server.replace("/naru?", "/auth_tests?")
    await migrate(url, ["auth"])
    return url


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    """The app's pool on empty tables."""
    owner = await asyncpg.connect(database)
    await owner.execute(
        "TRUNCATE tenants, clients, client_secrets, api_keys, signing_keys, revocations, used_once"
    )
    await owner.close()
    async with await open_pool(database, size=4, role="naru_auth") as opened:
        yield opened


@pytest.fixture
async def keys(pool: asyncpg.Pool, box: auth.SecretBox) -> auth.SigningKeys:
    return await auth.SigningKeys.load(pool, box, AuthSettings())


@pytest.fixture
async def client(pool: asyncpg.Pool, box: auth.SecretBox) -> auth.NewClient:
    await auth.create_tenant(pool, "acme", "Acme")
    return await auth.create_client(
        pool, box, "acme", name="demo", scopes=("inference", "agents"), client_id="demo"
    )


@pytest.fixture
def server(
    pool: asyncpg.Pool, box: auth.SecretBox, keys: auth.SigningKeys
) -> auth.AuthorizationServer:
    return auth.AuthorizationServer(
        pool,
        box,
        keys,
        clients=auth.ClientAuthenticator(pool, box, auth.Throttle(None, box), ISSUER),
        proofs=Proofs(pool, Nonces(box), require_nonce=False),
        announcer=auth.Announcer(None),
        issuer=ISSUER,
        audiences=(ISSUER, "https://other.naru.example"),
        ttl_s=900,
    )


@pytest.fixture
def verifier(pool: asyncpg.Pool, box: auth.SecretBox, keys: auth.SigningKeys) -> auth.Verifier:
    return make_verifier(pool, box, keys)


@pytest.fixture
def ask(server: auth.AuthorizationServer, client: auth.NewClient) -> Ask:
    """Ask for a token as the client does by default; keywords change or (None) drop parameters.

    `basic`, `headers`, `query`, `body` and `method` replace that part of the request; `endpoint` is
    the one asked.
    """

    async def send(
        *,
        basic: str | None = None,
        headers: dict[str, str] | None = None,
        query: bytes = b"",
        body: bytes | None = None,
        method: str = "POST",
        endpoint: str = "token",
        **parameters: str | None,
    ) -> auth.OAuthAnswer:
        form = {"grant_type": "client_credentials"} if endpoint == "token" else {}
        if basic is None:
            form |= {"client_id": client.client_id, "client_secret": client.client_secret}
        form = {name: value for name, value in (form | parameters).items() if value is not None}
        sent = {"content-type": "application/x-www-form-urlencoded"}
        if basic is not None:
            sent["authorization"] = "Basic " + base64.b64encode(basic.encode()).decode()
        body = urlencode(form).encode() if body is None else body
        pairs = tuple((sent | (headers or {})).items())
        request = auth.OAuthRequest(method, pairs, query, body, "192.0.2.1")
        return await getattr(server, endpoint)(request)

    return send
