"""A real S3-compatible server, and a bucket of it."""

import itertools
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from moto.server import ThreadedMotoServer

from config.buckets import BucketSettings

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
