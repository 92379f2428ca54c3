"""`/v1/vector_stores/{id}/sources`: what a knowledge base is kept in step with (docs/sync.md)."""

from datetime import datetime

from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET

from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai import sources as wire
from gateway.openai.knowledge import Deleted, ListPage
from gateway.routes.pages import page, timestamp
from rag import sync

READ, WRITE = needs("knowledge"), needs("knowledge:write")


@post("/", opt=WRITE, status_code=200, operation_id="create_source")
async def create(
    store_id: FromPath[str], data: JSONBody[wire.CreateSource], caller: Caller, services: Provided
) -> wire.SourceObject:
    """Give a store a source; one with a schedule is read at once."""
    source = await sync.create_source(
        services.pool,
        caller,
        store_id,
        _origin(data.origin),
        settings=services.sync,
        schedule=data.schedule,
    )
    return _object(source)


@get("/", opt=READ, operation_id="list_sources")
async def list_all(
    store_id: FromPath[str], caller: Caller, services: Provided
) -> ListPage[wire.SourceObject]:
    """List a store's sources, the oldest first."""
    found = await sync.list_sources(services.pool, caller, store_id)
    return page(found, sync.MAX_SOURCES, _object)


@get("/{source_id:str}", opt=READ, operation_id="get_source")
async def get_one(
    store_id: FromPath[str], source_id: FromPath[str], caller: Caller, services: Provided
) -> wire.SourceObject:
    """Return a source, with how its last run went and when the next one is due."""
    return _object(await sync.get_source(services.pool, caller, store_id, source_id))


@patch("/{source_id:str}", opt=WRITE, operation_id="update_source")
async def update(
    store_id: FromPath[str],
    source_id: FromPath[str],
    data: JSONBody[wire.UpdateSource],
    caller: Caller,
    services: Provided,
) -> wire.SourceObject:
    """Change a source's schedule, or its list of URLs."""
    change = sync.Change(
        urls=None if data.urls is UNSET else tuple(data.urls),
        schedule=None if data.schedule is UNSET else data.schedule,
        reschedule=data.schedule is not UNSET,
    )
    source = await sync.update_source(
        services.pool, caller, store_id, source_id, change, settings=services.sync
    )
    return _object(source)


@delete("/{source_id:str}", opt=WRITE, status_code=200, operation_id="delete_source")
async def remove(
    store_id: FromPath[str],
    source_id: FromPath[str],
    caller: Caller,
    services: Provided,
    *,
    remove_files: FromQuery[bool] = False,
) -> Deleted:
    """Delete a source; its documents stay in the store, unless `remove_files`."""
    await sync.delete_source(services.pool, caller, store_id, source_id, remove_files=remove_files)
    return Deleted(source_id, "vector_store.source.deleted")


@post("/{source_id:str}/sync", opt=WRITE, status_code=202, operation_id="sync_source")
async def start(
    store_id: FromPath[str], source_id: FromPath[str], caller: Caller, services: Provided
) -> wire.SourceObject:
    """Have a source read as soon as may be; `last_run` tells how that goes."""
    return _object(await sync.request_sync(services.pool, caller, store_id, source_id))


ROUTER = Router(
    "/v1/vector_stores/{store_id:str}/sources",
    route_handlers=[create, list_all, get_one, update, remove, start],
    tags=["vector stores"],
)


def _origin(origin: wire.Origin) -> sync.Origin:
    match origin:
        case wire.Folder():
            return sync.FolderOrigin(origin.folder, origin.path)
        case wire.Bucket():
            return sync.BucketOrigin(origin.bucket, origin.prefix)
        case wire.UrlList():
            return sync.UrlsOrigin(tuple(origin.urls))


def _wire_origin(origin: sync.Origin) -> wire.Origin:
    match origin:
        case sync.FolderOrigin():
            return wire.Folder(origin.folder, origin.path)
        case sync.BucketOrigin():
            return wire.Bucket(origin.bucket, origin.prefix)
        case sync.UrlsOrigin():
            return wire.UrlList(list(origin.urls))


def _object(source: sync.Source) -> wire.SourceObject:
    return wire.SourceObject(
        id=source.id,
        vector_store_id=source.store_id,
        created_at=timestamp(source.created_at),
        origin=_wire_origin(source.origin),
        schedule=source.schedule,
        next_run_at=_seconds(source.due_at),
        last_complete_at=_seconds(source.last_complete_at),
        last_run=_run(source.last_run) if source.last_run else None,
        failures=[wire.SourceFailure(key, reason) for key, reason in source.failures],
    )


def _run(run: sync.Run) -> wire.SourceRun:
    return wire.SourceRun(
        status=run.status,
        complete=run.complete,
        reason=run.reason,
        listed=run.listed,
        added=run.added,
        changed=run.changed,
        removed=run.removed,
        unchanged=run.unchanged,
        failed=run.failed,
        skipped=run.skipped,
        started_at=timestamp(run.started_at),
        finished_at=_seconds(run.finished_at),
    )


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else timestamp(moment)
