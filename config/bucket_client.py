"""How an S3-compatible bucket is opened, and what its failures say.

Its library takes 4 MB: import this where there is a bucket.
"""

import re
from datetime import timedelta

import obstore
import obstore.store
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from config.buckets import BucketSettings

_CONNECT_S = 5
_READ_S = 30
_REQUEST_S = 600
_RETRIES = 2
_RETRY_S = 60
_NOTHING = "naru-looks-for-nothing"
_STATUS = re.compile(r"status code: (\d{3})")

BUCKET_FAULTS = (BaseError, OSError)
"""What a request to a bucket raises when it fails; a missing object is a FileNotFoundError."""


def open_bucket(settings: BucketSettings) -> obstore.store.S3Store:
    """Return the bucket; nothing is asked of it yet.

    Every request has a timeout. A request that fails is tried again twice, within a minute.
    """
    endpoint = str(settings.endpoint).rstrip("/") if settings.endpoint else None
    config: obstore.store.S3Config = {"region": settings.region}
    if endpoint:
        # Servers of one's own answer at /BUCKET; few have a name for every bucket.
        config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    if settings.access_key and settings.secret:
        config["access_key_id"] = settings.access_key.get_secret_value()
        config["secret_access_key"] = settings.secret.get_secret_value()
    return obstore.store.S3Store(
        settings.bucket,
        config=config,
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": timedelta(seconds=_CONNECT_S),
            "read_timeout": timedelta(seconds=_READ_S),
            "timeout": timedelta(seconds=_REQUEST_S),
        },
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=_RETRY_S),
        },
    )


def bucket_fault(error: Exception) -> str:
    """Say of one of `BUCKET_FAULTS` what the bucket's owner can do something about.

    The rest of it names the operator's servers.
    """
    if isinstance(error, PermissionDeniedError):
        return "access is denied"
    if isinstance(error, UnauthenticatedError):
        return "the credentials are refused"
    status = _STATUS.search(str(error))
    return (
        f"its server answers with status {status[1]}"
        if status
        else "its server gave no good answer"
    )


async def check_bucket(bucket: obstore.store.S3Store) -> None:
    """Return when a bucket answers a listing of nothing; raises one of `BUCKET_FAULTS`."""
    await obstore.list(bucket, _NOTHING).collect_async()
