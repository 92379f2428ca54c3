"""Keeps a store in step with a folder, a bucket or a list of URLs.

A document is removed only when a complete listing lacks it and it is not there either when it is
looked for; a changed one is searched in its old version until the new one has been read.
"""

from rag.sync.items import take_place
from rag.sync.jobs import Syncer
from rag.sync.origins import BucketOrigin, FolderOrigin, Origin, UrlsOrigin
from rag.sync.run import Limits, sync_source
from rag.sync.sources import (
    MAX_SOURCES,
    Change,
    Run,
    Schedule,
    Source,
    create_source,
    delete_source,
    get_source,
    list_sources,
    request_sync,
    update_source,
)

__all__ = [
    "MAX_SOURCES",
    "BucketOrigin",
    "Change",
    "FolderOrigin",
    "Limits",
    "Origin",
    "Run",
    "Schedule",
    "Source",
    "Syncer",
    "UrlsOrigin",
    "create_source",
    "delete_source",
    "get_source",
    "list_sources",
    "request_sync",
    "sync_source",
    "take_place",
    "update_source",
]
