"""Files of a replica that puts their bytes into a bucket."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
from bucket_support import StoredInBucket, play_bucket_server, store_in_bucket
from gateway_support import Service, client_of, replica_of

from gateway import lifespan

AWAY = {"type": "service_unavailable", "param": None, "code": "files_unavailable"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[StoredInBucket]:
    with play_bucket_server() as server:
        yield store_in_bucket(server)


@pytest.fixture(scope="module")
async def replica(
    service: Service, redis_url: str, sockets: Path, data_dir: Path, bucket: StoredInBucket
) -> AsyncIterator[Service]:
    settings = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "server": {"max_file_bytes": 40_000_000},
        "files": {"storage": "bucket", "bucket": bucket.settings},
    }
    with pytest.MonkeyPatch.context() as patch:
        # The bucket that the test can take away.
        patch.setattr(lifespan, "open_storage", lambda _: bucket.storage)
        async with replica_of(service, sockets, settings) as opened:
            yield opened


@pytest.fixture
async def client(replica: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(replica, replica.key) as opened:
        yield opened


async def send(client: httpx.AsyncClient, content: bytes) -> httpx.Response:
    form = {"files": {"file": ("a.bin", content)}, "data": {"purpose": "assistants"}}
    return await client.post("/v1/files", **form, timeout=60)


async def test_thirty_megabytes_go_there_and_back(
    client: httpx.AsyncClient, bucket: StoredInBucket
) -> None:
    content = bytes(range(256)) * 120_000
    file = (await send(client, content)).json()
    assert file["bytes"] == len(content)
    assert f"acme/{file['id']}" in await asyncio.to_thread(bucket.keys)
    listed = (await client.get("/v1/files")).json()["data"]
    assert file["id"] in [each["id"] for each in listed]
    assert (await client.get(f"/v1/files/{file['id']}/content")).content == content
    assert (await client.delete(f"/v1/files/{file['id']}")).json()["deleted"] is True
    assert (await client.get(f"/v1/files/{file['id']}/content")).status_code == 404


async def test_an_empty_file(client: httpx.AsyncClient) -> None:
    file = (await send(client, b"")).json()
    assert (await client.get(f"/v1/files/{file['id']}/content")).content == b""


async def test_another_tenant_sees_nothing(client: httpx.AsyncClient, replica: Service) -> None:
    file = (await send(client, b"secret")).json()
    async with client_of(replica, replica.stranger_key) as stranger:
        assert (await stranger.get(f"/v1/files/{file['id']}/content")).status_code == 404


async def test_while_the_bucket_is_away_files_are_answered_503_and_the_rest_goes_on(
    client: httpx.AsyncClient, bucket: StoredInBucket
) -> None:
    file = (await send(client, b"text")).json()
    before = (await client.get("/v1/files")).json()
    assert "bucket" not in (await client.get("/health/ready")).json()["degraded"]
    bucket.away()
    try:
        for answer in (
            await send(client, b"more"),
            await client.get(f"/v1/files/{file['id']}/content"),
        ):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
            error = answer.json()["error"]
            assert {name: error[name] for name in AWAY} == AWAY
        assert (await client.get("/v1/files")).json() == before
        ready = await client.get("/health/ready")
        assert (ready.status_code, "bucket" in ready.json()["degraded"]) == (200, True)
    finally:
        bucket.back()
    assert (await client.get(f"/v1/files/{file['id']}/content")).content == b"text"


async def test_a_download_that_loses_the_bucket_does_not_look_whole(
    client: httpx.AsyncClient, bucket: StoredInBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = (await send(client, b"x" * 9_000_000)).json()
    fetch = obstore.get_range_async

    async def fetch_the_first(*given: Any, start: int, length: int) -> Any:
        if start:
            raise OSError
        return await fetch(*given, start=start, length=length)

    monkeypatch.setattr(obstore, "get_range_async", fetch_the_first)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message"):
        await client.get(f"/v1/files/{file['id']}/content")
