"""Where the bytes of files are: in PostgreSQL with all else, or in a bucket.

A file's row says which (`object`), so both are read whatever the setting is.
"""

import logging
from dataclasses import dataclass

from config.files import FileSettings
from rag.blobs import Blob, Blobs, ObjectBlobs, PostgresBlobs
from rag.errors import FilesUnavailable

_log = logging.getLogger(__name__)
_POSTGRES = PostgresBlobs()


@dataclass(frozen=True, slots=True)
class Storage:
    """The places where files' bytes are: PostgreSQL always, and a bucket where one is set.

    Attributes:
        into_bucket: New files go there.
    """

    bucket: ObjectBlobs | None = None
    into_bucket: bool = False

    @property
    def new(self) -> Blobs:
        """Return where new files go."""
        return self.bucket if self.bucket and self.into_bucket else _POSTGRES

    def of(self, blob: Blob) -> Blobs:
        """Return where a file is.

        Raises:
            FilesUnavailable: It is in a bucket, and none is set.
        """
        if blob.object is None:
            return _POSTGRES
        if self.bucket is None:
            _log.error("a file is in a bucket and files.bucket is not set")
            raise FilesUnavailable("files.bucket is not set")
        return self.bucket


def open_storage(settings: FileSettings) -> Storage:
    """Return the places where files' bytes are; nothing is asked of them yet."""
    if settings.bucket is None:
        return Storage()
    # Its library takes megabytes, which only those pay who have a bucket.
    from config.bucket_client import open_bucket  # noqa: PLC0415
    from rag.bucket_blobs import BucketBlobs  # noqa: PLC0415

    bucket = BucketBlobs(open_bucket(settings.bucket))
    return Storage(bucket, into_bucket=settings.storage == "bucket")


IN_POSTGRES = Storage()
"""All files are in PostgreSQL."""
