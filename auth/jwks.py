"""The keys of a foreign issuer: found by discovery, kept, and asked for again with restraint."""

import asyncio
import logging
from time import monotonic
from typing import Annotated

import aiohttp
import msgspec

from auth.jose import PublicKey, public_key
from config.settings import secure_url

FRESH_S = 600
"""How long keys are used without asking for them again."""

KEEP_S = 3600
"""How long they are used while the issuer can't be reached. Its tokens hardly live longer."""

REFRESH_S = 30
"""While the issuer answers, its keys are asked for once in this time at most, whatever tokens name.
While it does not: after 1 s, 2 s, 4 s … 60 s."""

_FETCH_S = 5.0
_MAX_BYTES = 262_144
_MAX_WAIT_S = 60

_log = logging.getLogger(__name__)


class IssuerUnavailable(OSError):
    """The issuer's keys can't be had now, so that its token is neither good nor bad.

    Among `config.postgres.UNREACHABLE`, like any other store that is away.
    """


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class _JwkSet(msgspec.Struct, frozen=True):
    keys: Annotated[list[dict[str, object]], msgspec.Meta(max_length=100)]


class IssuerKeys:
    """The public keys of one issuer, by `kid`.

    Args:
        issuer: Its URL, to which the discovery document must answer.
        http: Sends no credentials of anybody.
    """

    def __init__(self, issuer: str, http: aiohttp.ClientSession) -> None:
        self._issuer = issuer
        self._http = http
        self._keys: dict[str, PublicKey] = {}
        self._fetched = -float(KEEP_S)
        self._failed = False
        self._wait = 0
        self._not_before = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def find(self, kid: str) -> PublicKey | None:
        """Return the key with this id, or None when the issuer has none.

        Asks the issuer when the key is unknown or was fetched long ago, within the limits above.

        Raises:
            IssuerUnavailable: It did not answer, and what is known of its keys does not help.
        """
        age = monotonic() - self._fetched
        known = kid in self._keys and age < KEEP_S
        # Who has a key need not wait while another one asks.
        if not known or (age >= FRESH_S and not self._one_at_a_time.locked()):
            await self._refresh()
        usable = self._keys if monotonic() - self._fetched < KEEP_S else {}
        if kid not in usable and self._failed:
            raise IssuerUnavailable("the keys of the token's issuer can't be fetched")
        return usable.get(kid)

    async def _refresh(self) -> None:
        async with self._one_at_a_time:
            if monotonic() < self._not_before:
                return
            try:
                self._keys = await self._fetch()
            except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
                # Soon again at first, as it may only be starting; then ever later.
                self._wait = min(2 * self._wait, _MAX_WAIT_S) if self._failed else 1
                self._failed = True
                reason = str(error) or type(error).__name__
                _log.warning("no keys from the issuer %s: %s", self._issuer, reason)
            else:
                self._fetched, self._failed, self._wait = monotonic(), False, REFRESH_S
            self._not_before = monotonic() + self._wait

    async def _fetch(self) -> dict[str, PublicKey]:
        url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        async with asyncio.timeout(_FETCH_S):
            discovery = msgspec.json.decode(await self._get(url), type=_Discovery)
            if discovery.issuer != self._issuer:
                raise ValueError("its discovery document is another issuer's")
            body = await self._get(secure_url(discovery.jwks_uri))
        # A hundred RSA keys take 10 ms.
        keys = await asyncio.to_thread(_usable, body)
        if not keys:
            raise ValueError("it publishes no key for signatures")
        return keys

    async def _get(self, url: str) -> bytes:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._http.get(url, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"{url} answered {response.status}")
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > _MAX_BYTES:
                    raise ValueError(f"{url} answered more than {_MAX_BYTES} bytes")
            return bytes(body)


def _usable(key_set: bytes) -> dict[str, PublicKey]:
    """Take the keys that can verify a token; issuers publish others beside them."""
    keys: dict[str, PublicKey] = {}
    for jwk in msgspec.json.decode(key_set, type=_JwkSet).keys:
        kid = jwk.get("kid")
        if not isinstance(kid, str):
            continue
        try:
            keys[kid] = public_key(jwk)
        except ValueError:
            continue
    return keys
