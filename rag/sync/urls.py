"""A list of URLs, each asked for whether it has changed (RFC 9110 section 13)."""

import asyncio
import json
import mimetypes
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import aiohttp

from config.outbound import UrlRefused
from config.sync import SyncSettings
from rag.sync.origins import UrlsOrigin, open_outbound
from rag.sync.reading import Fetched, Gone, Listed, Listing, NotFetched, Spool

_PIECE_BYTES = 1 << 18
_NO_MORE = {404, 410}
_CONDITIONS = {"etag": "if-none-match", "last-modified": "if-modified-since"}


class UrlsReader:
    """Fetches the URLs of a list from the hosts that the tenant may read."""

    def __init__(self, settings: SyncSettings, tenant: str, origin: UrlsOrigin) -> None:
        self._urls = origin.urls
        self._settings = settings
        self._outbound = open_outbound(settings, tenant)

    async def list(self) -> Listing:
        """Return the list itself; only asking tells what is behind a URL."""
        listing = Listing()
        for url in self._urls:
            listing.add(Listed(url, None, None), self._settings.max_items)
        return listing

    async def fetch(self, item: Listed, known: str, into: Spool) -> Fetched | None:
        """Fetch what a URL leads to, if that is not what its validators `known` stand for."""
        conditions = json.loads(known or "{}")
        try:
            async with (
                asyncio.timeout(self._settings.item_timeout_s),
                self._outbound.get(item.key, conditions) as response,
            ):
                return await _receive(item.key, response, into)
        except TimeoutError:
            raise NotFetched("it was not fetched in time") from None
        except UrlRefused as error:
            raise NotFetched(f"it is not fetched: {error}") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise NotFetched("its host can't be reached, or broke off") from None

    async def is_gone(self, key: str) -> bool:
        """Everything that was taken off the list is."""
        return key not in self._urls

    async def close(self) -> None:
        """Close the connections."""
        await self._outbound.close()


async def _receive(url: str, response: aiohttp.ClientResponse, into: Spool) -> Fetched | None:
    if response.status == 304:
        return None
    if response.status in _NO_MORE:
        raise Gone(url)
    if response.status != 200:
        raise NotFetched(f"its host answers with status {response.status}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise NotFetched("its host compresses what it was not asked to")
    into.check_size(response.content_length)
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        await asyncio.to_thread(into.write, piece)
    validators = {
        condition: response.headers[header]
        for header, condition in _CONDITIONS.items()
        if header in response.headers
    }
    fingerprint = json.dumps(validators) if validators else ""
    return Fetched(fingerprint, filename_of(url, response.content_type))


def filename_of(url: str, content_type: str) -> str:
    """Return what to call a document: the URL's last part, with the extension of its type."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name or "index"
    said = content_type != "application/octet-stream"
    extension = (mimetypes.guess_extension(content_type) or "") if said else ""
    known = mimetypes.guess_type(name)[0] is not None
    return name if known else name + extension
