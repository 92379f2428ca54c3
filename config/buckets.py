"""Settings of S3-compatible buckets; `config.bucket_client` opens them."""

from typing import Annotated, Self

from pydantic import AnyHttpUrl, Field, SecretStr, StringConstraints, model_validator

from config.section import Section


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
