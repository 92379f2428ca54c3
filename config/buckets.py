"""S3-compatible buckets: their settings, and how one is opened."""

import re
from datetime import timedelta
from typing import Annotated, Self

import obstore
import obstore.store
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from pydantic import AnyHttpUrl, Field, SecretStr, StringConstraints, model_validator

from config.section import Section

_CONNECT_S = 5
_READ_S = 30
_REQUEST_S = 600
_RETRIES = 2
_RETRY_S = 60
_NOTHING = "naru-looks-for-nothing"
_STATUS = re.compile(r"status code: (\d{3})")

BUCKET_FAULTS = (BaseError, OSError)
"""What a request to a bucket raises when it fails; a missing object is a FileNotFoundError."""


class BucketSettings(Section):
    """A bucket of AWS S3, or of anything that speaks its API (MinIO, Ceph, R2 …)."""

    bucket: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$")]
    endpoint: AnyHttpUrl | None = None
    """Where the server is, without the bucket; default AWS in `region`."""
    region: str = Field(default="us-east-1", min_length=1)
    access_key: SecretStr | None = None
    """Without a key, what the process's environment gives (AWS_…, an instance's role)."""
    secret: SecretStr | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.access_key is None) != (self.secret is None):
            raise ValueError("set both access_key and secret, or neither")
        return self


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
