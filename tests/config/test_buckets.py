from collections.abc import Iterator

import obstore
import pytest
from bucket_support import BucketServer, play_bucket_server
from pydantic import ValidationError

from config.bucket_client import open_bucket
from config.buckets import BucketSettings


@pytest.fixture(scope="module")
def server() -> Iterator[BucketServer]:
    with play_bucket_server() as playing:
        yield playing


async def test_what_is_put_is_listed_and_got(server: BucketServer) -> None:
    bucket = open_bucket(server.make_bucket())
    await obstore.put_async(bucket, "사규/휴가 1.md", b"15 days")
    listed = [each["path"] async for page in obstore.list(bucket, "사규") for each in page]
    assert listed == ["사규/휴가 1.md"]
    assert bytes(await (await obstore.get_async(bucket, listed[0])).bytes_async()) == b"15 days"


async def test_an_object_that_is_not_there_is_told_from_a_bucket_that_is_not(
    server: BucketServer,
) -> None:
    with pytest.raises(FileNotFoundError):
        await obstore.get_async(open_bucket(server.make_bucket()), "nothing")
    with pytest.raises(obstore.exceptions.GenericError, match="NoSuchBucket"):
        await obstore.list(open_bucket(server.settings("nobodys"))).collect_async()


@pytest.mark.parametrize("half", [{"access_key": "key"}, {"secret": "word"}])
def test_half_of_the_credentials_is_refused(half: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="set both access_key and secret, or neither"):
        BucketSettings.model_validate({"bucket": "docs"} | half)


def test_the_secret_is_not_shown() -> None:
    settings = BucketSettings.model_validate(
        {"bucket": "docs", "access_key": "AKIA1", "secret": "hush"}
    )
    assert "hush" not in repr(settings)
    assert "AKIA1" not in repr(settings)


def test_without_an_endpoint_it_is_amazons() -> None:
    bucket = open_bucket(BucketSettings(bucket="docs", region="ap-northeast-2"))
    assert "endpoint" not in bucket.config
    assert bucket.config["region"] == "ap-northeast-2"
