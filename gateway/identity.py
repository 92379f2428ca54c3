"""What a web worker opens to know who is asking."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import redis.asyncio

from auth import (
    Announcer,
    AuthorizationServer,
    ClientAuthenticator,
    Revocations,
    SecretBox,
    SigningKeys,
    Throttle,
    Verifier,
    watching,
)
from auth.admin.desk import Desk
from auth.dpop import Nonces, Proofs
from auth.issuers import ForeignIssuers
from config.postgres import open_pool
from config.settings import AuthSettings

_CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Identity:
    """The authorization server, and what verifies its tokens."""

    keys: SigningKeys
    desk: Desk
    authorization: AuthorizationServer
    verifier: Verifier


@asynccontextmanager
async def open_identity(
    settings: AuthSettings,
    issuer: str,
    box: SecretBox,
    database_url: str,
    cache: "redis.asyncio.Redis",
) -> AsyncIterator[Identity]:
    """Open the tables of identity, under a role that sees nothing else, and follow their changes.

    What is revoked by now is known on entry.
    """
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(
            await open_pool(database_url, size=_CONNECTIONS, role="naru_auth")
        )
        keys = await SigningKeys.load(db, box, settings)
        revocations = Revocations(db)
        await stack.enter_async_context(watching(db, cache, settings, keys, revocations))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        announcer = Announcer(cache)
        proofs = Proofs(db, Nonces(box), require_nonce=settings.dpop_nonce)
        authorization = AuthorizationServer(
            db,
            box,
            keys,
            clients=ClientAuthenticator(db, box, Throttle(cache, box), issuer),
            proofs=proofs,
            announcer=announcer,
            issuer=issuer,
            audiences=(issuer, *settings.audiences),
            ttl_s=settings.token_ttl_s,
        )
        verifier = Verifier(
            db,
            box,
            keys,
            issuer=issuer,
            audience=issuer,
            revocations=revocations,
            proofs=proofs,
            foreign=ForeignIssuers(settings.issuers, http, db),
        )
        yield Identity(keys, Desk(db, box, settings, announcer), authorization, verifier)
