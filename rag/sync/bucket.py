"""A bucket, or what is beneath a prefix of it."""

import asyncio
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import InvalidPathError

from config.bucket_client import BUCKET_FAULTS, bucket_fault, open_bucket
from config.sync import SyncSettings
from rag.sync.origins import BucketOrigin, bucket_place, relative_parts
from rag.sync.reading import Fetched, Listed, Listing, NotFetched, Spool

if TYPE_CHECKING:
    from obstore import ObjectMeta

_PAGE = 1000
_PART_BYTES = 1 << 20


class BucketReader:
    """Reads the objects of a bucket that hold something."""

    def __init__(self, settings: SyncSettings, tenant: str, origin: BucketOrigin) -> None:
        self._bucket = open_bucket(bucket_place(settings, tenant, origin))
        self._prefix = "/".join(relative_parts(origin.prefix, "prefix"))
        self._settings = settings

    async def list(self) -> Listing:
        """Ask for every page of the listing."""
        listing = Listing()
        try:
            async with asyncio.timeout(self._settings.listing_timeout_s):
                await self._list_into(listing)
        except TimeoutError:
            listing.incomplete = "the bucket was not listed in time"
        except InvalidPathError:
            listing.incomplete = (
                "the bucket holds a key with an empty part, `.` or `..` (as in `a//b`), at which"
                " its listing ends: rename that object"
            )
        except BUCKET_FAULTS as error:
            listing.incomplete = f"the bucket's listing broke off: {bucket_fault(error)}"
        return listing

    async def fetch(self, item: Listed, known: str, into: Spool) -> Fetched:
        """Fetch an object that is not the one it was."""
        del known
        into.check_size(item.size)
        try:
            async with asyncio.timeout(self._settings.item_timeout_s):
                result = await obstore.get_async(self._bucket, item.key)
                async for piece in result.stream(min_chunk_size=_PART_BYTES):
                    await asyncio.to_thread(into.write, bytes(piece))
        except TimeoutError:
            raise NotFetched("it was not fetched in time") from None
        except FileNotFoundError:
            raise NotFetched("it was taken away while the source was read") from None
        except BUCKET_FAULTS as error:
            raise NotFetched(f"it can't be fetched: {bucket_fault(error)}") from None
        if into.size != result.meta["size"]:
            raise NotFetched("it broke off before its end")
        return Fetched(_fingerprint(result.meta), PurePosixPath(item.key).name)

    async def is_gone(self, key: str) -> bool:
        """Ask for the object itself: a listing can end early without a word."""
        try:
            async with asyncio.timeout(self._settings.item_timeout_s):
                return (await obstore.head_async(self._bucket, key))["size"] == 0
        except FileNotFoundError:
            return True
        except TimeoutError:
            raise NotFetched("the bucket did not answer in time") from None
        except BUCKET_FAULTS as error:
            raise NotFetched(f"it can't be looked for: {bucket_fault(error)}") from None

    async def close(self) -> None:
        """Nothing is open."""

    async def _list_into(self, listing: Listing) -> None:
        pages = obstore.list(self._bucket, self._prefix or None, chunk_size=_PAGE)
        async for page in pages:
            for entry in page:
                if entry["size"] == 0:
                    listing.skipped += 1  # what stands for a folder, with others
                    continue
                item = Listed(entry["path"], _fingerprint(entry), entry["size"])
                if not listing.add(item, self._settings.max_items):
                    return


def _fingerprint(entry: "ObjectMeta") -> str:
    tag = entry["e_tag"] or entry["last_modified"].isoformat()
    return f"{tag} {entry['size']}"
