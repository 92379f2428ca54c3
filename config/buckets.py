"""S3-compatible buckets: their settings, and how one is opened."""

from datetime import timedelta
from typing import Annotated, Self

import obstore.store
from pydantic import AnyHttpUrl, Field, SecretStr, StringConstraints, model_validator

from config.section import Section

_CONNECT_S = 5
_READ_S = 30
_REQUEST_S = 600
_RETRIES = 2
_RETRY_S = 60


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
