"""A real S3-compatible server, and a bucket of it."""

import asyncio
import itertools
import re
import socket
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from moto.server import ThreadedMotoServer

from config.bucket_client import open_bucket
from config.buckets import BucketSettings
from config.files import FileSettings
from rag.storage import Storage, open_storage

_KEPT = {"etag", "last-modified", "content-type", "content-length"}
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class BucketServer:
    """Where the server listens."""

    url: str

    def make_bucket(self) -> BucketSettings:
        """Make a new bucket."""
        name = f"bucket-{next(_NUMBERS)}"
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{name}", method="PUT")):
            return self.settings(name)

    def put_raw(self, bucket: str, key: str, content: bytes) -> None:
        """Put an object, also under a key that a good client does not use."""
        url = f"{self.url}/{bucket}/{key}"
        with urllib.request.urlopen(urllib.request.Request(url, content, method="PUT")):
            pass

    def keys(self, bucket: str) -> list[str]:
        """List what is in a bucket."""
        return self._keys_of(f"{bucket}?list-type=2")

    def unfinished(self, bucket: str) -> list[str]:
        """List the uploads in parts that were begun, and neither finished nor given up."""
        return self._keys_of(f"{bucket}?uploads")

    def _keys_of(self, path: str) -> list[str]:
        with urllib.request.urlopen(f"{self.url}/{path}") as answer:
            return re.findall("<Key>(.*?)</Key>", answer.read().decode())

    def settings(self, bucket: str) -> BucketSettings:
        return BucketSettings.model_validate(
            {"bucket": bucket, "endpoint": self.url, "access_key": "key", "secret": "word"}
        )


@contextmanager
def play_bucket_server() -> Iterator[BucketServer]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield BucketServer(f"http://{host}:{port}")
    server.stop()


@dataclass
class Between:
    """Stands between a client and the server: a listing has two objects a page, and a fault.

    `fault` is what happens to its second page, `asked` the paths and queries that were asked for.
    """

    port: int
    fault: str = ""
    asked: list[str] = field(default_factory=list)


@asynccontextmanager
async def play_between(server: BucketServer) -> AsyncIterator[Between]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        between = Between(listening.getsockname()[1])
        async with aiohttp.ClientSession() as session:

            async def pass_on(request: web.Request) -> web.StreamResponse:
                between.asked.append(request.path_qs)
                query = dict(request.query)
                listing = "list-type" in query
                if listing:
                    query["max-keys"] = "2"
                url = server.url + request.path
                who = {"authorization": request.headers["authorization"]}
                asking = session.request(request.method, url, params=query, headers=who)
                async with asking as answer:
                    body = await answer.read()
                if listing and between.fault:
                    second = "continuation-token" in query
                    return await _with_fault(between.fault, body, second=second)
                headers = {k: v for k, v in answer.headers.items() if k.lower() in _KEPT}
                return web.Response(body=body, status=answer.status, headers=headers)

            application = web.Application()
            application.router.add_route("*", "/{path:.*}", pass_on)
            runner = web.AppRunner(application, shutdown_timeout=0.1)
            await runner.setup()
            await web.SockSite(runner, listening).start()
            yield between
            await runner.cleanup()


async def _with_fault(fault: str, body: bytes, *, second: bool) -> web.Response:
    if fault == "no token":  # it says that there is more, and not how to get it
        body = re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", body)
    elif second and fault == "silent":
        await asyncio.Event().wait()
    elif second and fault.isdecimal():
        return web.Response(status=int(fault))
    elif second and fault == "half":
        body = body[: len(body) // 2]
    elif second and fault == "another page":
        body = b"<html><body>Please log in</body></html>"
    return web.Response(body=body, content_type="application/xml")


@dataclass
class StoredInBucket:
    """The files' bucket, as a test looks at it; `away` and `back` say whether it answers."""

    server: BucketServer
    settings: BucketSettings
    storage: Storage

    def keys(self) -> list[str]:
        return self.server.keys(self.settings.bucket)

    def unfinished(self) -> list[str]:
        return self.server.unfinished(self.settings.bucket)

    def away(self, endpoint: str = "http://127.0.0.1:9") -> None:
        changed = self.settings.model_dump() | {"endpoint": endpoint}
        self._put(BucketSettings.model_validate(changed))

    def back(self) -> None:
        self._put(self.settings)

    def _put(self, settings: BucketSettings) -> None:
        assert self.storage.bucket
        self.storage.bucket._bucket = open_bucket(settings)


def store_in_bucket(server: BucketServer) -> StoredInBucket:
    """Make a bucket that new files go into."""
    settings = server.make_bucket()
    storage = open_storage(FileSettings(storage="bucket", bucket=settings))
    return StoredInBucket(server, settings, storage)
