"""GET requests to URLs that a caller names: to listed hosts only, and never to the inside.

A host is resolved once per connection and that address is connected to, so that no second answer of
its DNS leads inside. Redirects are followed by hand, each checked like the first URL.
"""

import ipaddress
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import StringConstraints

_MAX_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

AllowedHost = Annotated[
    str, StringConstraints(to_lower=True, pattern=r"^(\*\.)?[A-Za-z0-9.-]+(:[0-9]{1,5})?$")
]
"""`docs.example.com`, `*.example.com`, `host:8443`; without a port its scheme's own."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class UrlRefused(Exception):
    """This URL is not fetched; the message says why."""


class NotPlain(UrlRefused):
    """It is not plainly an http or https URL of a host."""


class HostNotAllowed(UrlRefused):
    """Its host is not listed."""


class TooManyRedirects(UrlRefused):
    """It leads from one place to the next."""


class Outbound:
    """Fetches from listed hosts; `networks` may be reached although they are not public.

    A host whose address may not be reached raises an OSError, like one that is away.
    """

    def __init__(
        self, hosts: Sequence[str], networks: Sequence[Network], headers: Mapping[str, str]
    ) -> None:
        self._hosts = hosts
        self._headers = headers
        self._resolver = _Resolver(networks)
        self._session: aiohttp.ClientSession | None = None

    def check(self, url: str) -> None:
        """Refuse every URL that is not plainly one of a listed host.

        Raises:
            UrlRefused: It is another one.
            OSError: The host is an address that may not be reached.
        """
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError as error:
            raise NotPlain(str(error)) from None
        if parts.scheme not in _PORTS or not host or "@" in parts.netloc or "\\" in url:
            raise NotPlain("an http or https URL without a user is needed")
        name = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
        if not any(_matches(name, allowed) for allowed in self._hosts):
            raise HostNotAllowed(f"{name} is not a listed host")
        self._resolver.check_literal(host)

    @asynccontextmanager
    async def get(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open the answer, whatever its status, at the end of the URL's redirects.

        The caller sets the time: there is no timeout in here.

        Raises:
            UrlRefused: The URL, or one it leads to, is not fetched.
            OSError: A host is away, or has an address that may not be reached.
            aiohttp.ClientError: There is no HTTP to be spoken with it.
            ValueError: The client can't read the URL.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            self.check(url)
            asking = self._open_session().get(url, headers=headers, allow_redirects=False)
            async with asking as response:
                if response.status not in _REDIRECTS:
                    yield response
                    return
                url = urljoin(url, response.headers.get("location", ""))
        raise TooManyRedirects(f"more than {_MAX_REDIRECTS} redirects")

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=self._resolver, use_dns_cache=False, limit=16, force_close=True
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={**self._headers, "accept-encoding": "identity"},
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


class _Resolver(AbstractResolver):
    """Resolves names to addresses that may be connected to; there is no other way to them."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:  # noqa: ANN401 - as the base class has it
        found = await self._resolver.resolve(host, port, family)
        if not all(self._may_reach(ipaddress.ip_address(entry["host"])) for entry in found):
            raise OSError(f"{host} has an address that is not public")
        return found

    async def close(self) -> None:
        await self._resolver.close()

    def check_literal(self, host: str) -> None:
        """Refuse a host that is an address itself: those are never resolved."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return
        if not self._may_reach(address):
            raise OSError(f"{host} is not public")

    def _may_reach(self, address: _Address) -> bool:
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks) or _is_public(address)


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (
        address in _NAT64 or address.sixtofour or address.teredo
    ):
        return False
    return address.is_global and not address.is_multicast


def _matches(host: str, allowed: str) -> bool:
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed
