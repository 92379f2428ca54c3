"""What the conformance tests of OAuth share: a service of two replicas, and tokens of any shape."""

import asyncio
import base64
import hmac
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from joserfc.jwk import ECKey, Key
from joserfc.jws import JWSRegistry

import auth
from auth.revocations import record_client

GRANT = {"grant_type": "client_credentials"}
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM = "application/x-www-form-urlencoded"
OTHER_AUDIENCE = "https://other-api.example"
"""A further resource that the service may issue tokens for."""

ENDPOINTS = ("/oauth/token", "/oauth/revoke", "/oauth/introspect")
PROTECTED = "/v1/sessions"
"""Wants the scope `agents`."""


@dataclass(frozen=True)
class Site:
    """Two replicas with one public URL, on one database.

    Attributes:
        issuer: The public URL; it leads to the first replica.
        http: Talks to the first replica.
        other: Talks to the second.
        identity: The database, as `auth` sees it.
        keys: What signs the tokens.
    """

    issuer: str
    http: httpx.AsyncClient
    other: httpx.AsyncClient
    identity: asyncpg.Pool
    box: auth.SecretBox
    keys: auth.SigningKeys
    announcer: auth.Announcer

    async def register(
        self,
        tenant: str = "acme",
        scopes: tuple[str, ...] = ("agents", "inference"),
        **columns: Any,
    ) -> "Registered":
        """Make a client; `columns` are what its row says otherwise."""
        made = await auth.create_client(
            self.identity, self.box, tenant, name="a client of a test", scopes=scopes
        )
        for column, value in columns.items():
            await self.identity.execute(
                f"UPDATE clients SET {column} = $2 WHERE id = $1", made.client_id, value
            )
        return Registered(self, made.client_id, made.client_secret)

    async def take_away(self, client_id: str, change: str = "name = name") -> None:
        """Change a client as whatever takes a right away from it does."""
        async with self.identity.acquire() as con, con.transaction():
            generation = await con.fetchval(
                f"UPDATE clients SET generation = generation + 1, {change} WHERE id = $1"
                " RETURNING generation",
                client_id,
            )
            await record_client(con, client_id, generation)
        await self.announcer.announce()


@dataclass(frozen=True)
class Registered:
    """A client of its own, so that no test sees another's failures or revocations."""

    site: Site
    id: str
    secret: str = field(repr=False)

    @property
    def basic(self) -> tuple[str, str]:
        """Its credentials for HTTP Basic."""
        return self.id, self.secret

    @property
    def body(self) -> dict[str, str]:
        """Its credentials for a form."""
        return {"client_id": self.id, "client_secret": self.secret}

    async def ask(self, **parameters: Any) -> httpx.Response:
        """Ask for a token, with HTTP Basic."""
        return await self.site.http.post("/oauth/token", data=GRANT | parameters, auth=self.basic)

    async def token(self, **parameters: Any) -> str:
        """Return a token of its own."""
        return str((await self.ask(**parameters)).json()["access_token"])

    async def revoke(self, token: str, **parameters: str) -> httpx.Response:
        """Have a token revoked."""
        form = {"token": token} | parameters
        return await self.site.http.post("/oauth/revoke", data=form, auth=self.basic)

    async def introspect(self, token: str, **parameters: str) -> httpx.Response:
        """Ask what a token is."""
        form = {"token": token} | parameters
        return await self.site.http.post("/oauth/introspect", data=form, auth=self.basic)


async def use(http: httpx.AsyncClient, token: str, **headers: str) -> httpx.Response:
    """Send a token to a protected resource."""
    return await http.get(PROTECTED, headers={"authorization": f"Bearer {token}"} | headers)


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    """Ask again and again; tell whether it held in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if await holds():
            return True
        await asyncio.sleep(0.01)
    return False


def public(key: Key) -> dict[str, Any]:
    """Return the public half as a JWK."""
    return dict(key.as_dict(private=False))


def encode(part: bytes | dict[str, Any]) -> str:
    """Return one part of a compact JWS; a dict's members of None are left out."""
    if isinstance(part, dict):
        part = json.dumps(
            {name: value for name, value in part.items() if value is not None}
        ).encode()
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def sign(header: dict[str, Any], claims: dict[str, Any], key: Key, by: str = "ES256") -> str:
    """Return a compact JWS made with the algorithm `by`, whatever the header says."""
    text = f"{encode(header)}.{encode(claims)}"
    return f"{text}.{encode(JWSRegistry.algorithms[by].sign(text.encode(), key))}"


def sign_with(secret: bytes, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return a compact JWS made with HS256; libraries refuse what may stand here as a secret."""
    text = f"{encode(header)}.{encode(claims)}"
    return f"{text}.{encode(hmac.digest(secret, text.encode(), 'sha256'))}"


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a token's header and claims, unverified."""
    header, claims, _ = (
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")
    )
    return json.loads(header), json.loads(claims)


HOLDER = ECKey.generate_key("P-256")


def prove(url: str, method: str = "POST", key: Key = HOLDER, **claims: Any) -> str:
    """Return a DPoP proof (RFC 9449 section 4.2)."""
    values = {"jti": uuid.uuid4().hex, "htm": method, "htu": url, "iat": int(time.time())}
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": public(key)}
    return sign(header, values | claims, key)


def error_of(answer: httpx.Response) -> str:
    """Return the error of an answer that is one as RFC 6749 section 5.2 wants it."""
    body = answer.json()
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["cache-control"] == "no-store"
    assert set(body) <= {"error", "error_description", "error_uri"}
    assert all(" " <= character <= "~" for text in body.values() for character in text)
    return str(body["error"])


def seen(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """Return all that tells one answer from another."""
    own = {"date", "x-request-id"}
    headers = {name: value for name, value in answer.headers.items() if name not in own}
    return answer.status_code, headers, answer.content
