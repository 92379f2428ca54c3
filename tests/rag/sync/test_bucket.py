"""A bucket is read whole, and a listing that is not whole removes nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import obstore
import obstore.store
import pytest
from bucket_support import Between, BucketServer, play_between
from sync_support import Kept

from config.bucket_client import open_bucket
from rag import sync
from rag.errors import SourceRefused
from rag.sync import bucket as bucket_module

DOCS = sync.BucketOrigin("docs")


@dataclass
class Bucket:
    """A bucket that documents are put into, as seen through what stands between."""

    store: obstore.store.S3Store
    between: Between

    async def put(self, key: str, content: str) -> None:
        await obstore.put_async(self.store, key, content.encode())

    async def take(self, key: str) -> None:
        await obstore.delete_async(self.store, key)


@pytest.fixture
async def between(bucket_server: BucketServer) -> AsyncIterator[Between]:
    async with play_between(bucket_server) as playing:
        yield playing


@pytest.fixture
def bucket(bucket_server: BucketServer, between: Between) -> Bucket:
    return Bucket(open_bucket(bucket_server.make_bucket()), between)


@pytest.fixture
def synced(kept: Kept, bucket: Bucket, between: Between, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """The store, whose tenant may read the bucket."""
    monkeypatch.setattr(bucket_module, "_PAGE", 2)  # as `between` has it
    place = {
        "bucket": bucket.store.config["bucket"],
        "endpoint": f"http://127.0.0.1:{between.port}",
        "access_key": "key",
        "secret": "word",
        "tenants": ["acme"],
    }
    return kept.but(buckets={"docs": place})


async def test_all_pages_are_listed_and_what_has_not_changed_is_not_fetched_again(
    synced: Kept, bucket: Bucket
) -> None:
    names = [f"{number}.md" for number in range(5)] + ["사규/휴가 1.md"]
    for name in names:
        await bucket.put(name, name)
    source = await synced.add(DOCS)
    run = await synced.run(source)
    assert (run.listed, run.added, run.complete) == (6, 6, True)
    assert await synced.contents() == {name: name.encode() for name in names}
    bucket.between.asked.clear()
    assert (await synced.run(source)).unchanged == 6
    assert all("list-type" in asked for asked in bucket.between.asked)
    assert len(bucket.between.asked) == 3


async def test_what_is_changed_or_gone_is_so_in_the_store(synced: Kept, bucket: Bucket) -> None:
    for name in ("a.md", "b.md", "c.md"):
        await bucket.put(name, name)
    source = await synced.add(DOCS)
    await synced.run(source)
    await synced.read()
    await bucket.put("a.md", "changed")
    await bucket.put("b.md", "b.md")
    await bucket.take("c.md")
    run = await synced.run(source)
    assert (run.changed, run.unchanged, run.removed) == (1, 1, 1)
    await synced.read()
    assert await synced.searchable() == {"a.md": b"changed", "b.md": b"b.md"}


async def test_a_prefix_is_a_folder_and_what_stands_for_one_is_no_document(
    synced: Kept, bucket: Bucket, bucket_server: BucketServer
) -> None:
    for name in ("hr/a.md", "hr/2026/b.md", "hrx/c.md", "d.md"):
        await bucket.put(name, name)
    bucket_server.put_raw(bucket.store.config["bucket"], "hr/", b"")
    source = await synced.add(sync.BucketOrigin("docs", "/hr/"))
    run = await synced.run(source)
    assert (run.added, run.skipped, run.failed) == (2, 1, 0)
    assert set(await synced.contents()) == {"hr/a.md", "hr/2026/b.md"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("500", "the bucket's listing broke off: its server answers with status 500"),
        ("403", "the bucket's listing broke off: its server answers with status 403"),
        ("half", "the bucket's listing broke off: its server gave no good answer"),
        ("silent", "the bucket was not listed in time"),
        ("no token", "is there and was not listed"),
        ("another page", "is there and was not listed"),
    ],
)
async def test_a_listing_with_a_broken_page_removes_nothing(
    synced: Kept, bucket: Bucket, fault: str, reason: str
) -> None:
    names = [f"{number}.md" for number in range(5)]
    for name in names:
        await bucket.put(name, name)
    source = await synced.add(DOCS)
    assert (await synced.run(source)).complete
    await bucket.put("0.md", "changed")
    bucket.between.fault = fault
    run = await synced.but(listing_timeout_s=2 if fault == "silent" else 60).run(source)
    assert (run.status, run.complete, run.changed, run.removed) == ("completed", False, 1, 0)
    assert reason in str(run.reason)
    assert set(await synced.contents()) == set(names)
    bucket.between.fault = ""
    assert (await synced.run(source)).complete


async def test_a_key_that_ends_the_listing_removes_nothing_and_is_told(
    synced: Kept, bucket: Bucket, bucket_server: BucketServer
) -> None:
    await bucket.put("a.md", "a")
    await bucket.put("z.md", "z")
    source = await synced.add(DOCS)
    await synced.run(source)
    bucket_server.put_raw(bucket.store.config["bucket"], "m//n.md", b"n")
    run = await synced.run(source)
    assert (run.complete, run.removed) == (False, 0)
    assert "rename that object" in str(run.reason)
    assert set(await synced.contents()) == {"a.md", "z.md"}


async def test_a_server_that_is_away_removes_nothing_and_is_not_named(
    synced: Kept, bucket: Bucket
) -> None:
    await bucket.put("a.md", "a")
    source = await synced.add(DOCS)
    await synced.run(source)
    place = synced.settings.model_dump()["buckets"]["docs"]
    away = synced.but(buckets={"docs": place | {"endpoint": "http://127.0.0.1:9"}})
    run = await away.run(source)
    assert (run.status, run.removed) == ("failed", 0)
    assert "127.0.0.1" not in str(run.reason)
    assert set(await synced.contents()) == {"a.md"}


async def test_an_object_over_the_limit_is_not_fetched(synced: Kept, bucket: Bucket) -> None:
    synced.max_file_bytes = 10
    await bucket.put("a.md", "x" * 11)
    run = await synced.run(await synced.add(DOCS))
    assert run.failed == 1
    assert all("list-type" in asked for asked in bucket.between.asked)


async def test_a_bucket_is_open_to_whom_the_operator_says(synced: Kept) -> None:
    place = synced.settings.model_dump()["buckets"]["docs"]
    with pytest.raises(SourceRefused, match=r"sync\.buckets"):
        await synced.but(buckets={"docs": place | {"tenants": ["rival"]}}).add(DOCS)
