"""Settings of where the bytes of uploaded files are."""

from typing import Literal, Self

from pydantic import model_validator

from config.buckets import BucketSettings
from config.section import Section


class FileSettings(Section):
    """Where files' bytes go. Each stays where it was put, so `storage` can be changed any time."""

    storage: Literal["postgres", "bucket"] = "postgres"
    """Where new files' bytes go: into PostgreSQL with all else (one backup), or into `bucket`."""
    bucket: BucketSettings | None = None
    """An S3-compatible bucket. Keep it here for as long as files are in it, also after `storage`
    is `postgres` again."""

    @model_validator(mode="after")
    def _bucket_is_named(self) -> Self:
        if self.storage == "bucket" and self.bucket is None:
            raise ValueError("bucket: name the one that files go into")
        return self
