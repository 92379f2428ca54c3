"""`naru sync`: the sources of a vector store of the running service, over its own API."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import typer

from config.errors import ConfigError
from gateway.commands.remote import connect, segment
from gateway.credentials import Credentials

_POLL_S = 0.5
_COUNTS = ("added", "changed", "removed", "unchanged", "failed", "skipped")


def origin_of(folder: str | None, bucket: str | None, urls: Sequence[str]) -> dict[str, Any]:
    """Return what a new source is made from: `NAME` or `NAME/PATH`, or URLs.

    Raises:
        ConfigError: It is none, or more than one.
    """
    if (folder is not None) + (bucket is not None) + bool(urls) != 1:
        raise ConfigError("name one of --folder NAME/PATH, --bucket NAME/PREFIX, or --url URL…")
    if urls:
        return {"kind": "urls", "urls": list(urls)}
    if folder is not None:
        name, _, path = folder.partition("/")
        return {"kind": "folder", "folder": name, "path": path}
    name, _, prefix = str(bucket).partition("/")
    return {"kind": "bucket", "bucket": name, "prefix": prefix}


async def add_source(
    credentials: Credentials, store: str | None, origin: dict[str, Any], schedule: str | None
) -> str:
    """Give a store a source and return its id.

    Raises:
        ConfigError: The service does not answer, or refuses it.
    """
    async with _sources(credentials, store) as (session, path):
        body = {"origin": origin, "schedule": schedule}
        return str((await _ask(session, "POST", path, json=body))["id"])


async def list_sources(credentials: Credentials, store: str | None) -> list[str]:
    """Return a line for each source of a store.

    Raises:
        ConfigError: The service does not answer, or has no such store.
    """
    async with _sources(credentials, store) as (session, path):
        return [_line(source) for source in (await _ask(session, "GET", path))["data"]]


async def run_source(credentials: Credentials, store: str | None, source_id: str) -> bool:
    """Have a source read now, wait for it, print how it went; tell whether all of it was read.

    Raises:
        ConfigError: The service does not answer, or has no such source.
    """
    async with _sources(credentials, store) as (session, path):
        source = await _ask(session, "POST", f"{path}/{segment(source_id)}/sync")
        asked_for = source["next_run_at"]
        while source["next_run_at"] == asked_for:
            await asyncio.sleep(_POLL_S)
            source = await _ask(session, "GET", f"{path}/{segment(source_id)}")
        unread = await _unread(session, source)
    typer.echo(_line(source))
    failures = [(failure["key"], failure["reason"]) for failure in source["failures"]]
    for key, reason in [*failures, *unread]:
        typer.echo(f"{key}: {reason}", err=True)
    seen = source["last_run"]["complete"] and not source["last_run"]["failed"]
    return bool(seen and not unread)


async def _unread(session: aiohttp.ClientSession, source: dict[str, Any]) -> list[tuple[str, str]]:
    """Wait until what came from a source has been read; return what could not be, and why."""
    waiting = await _files_of(session, source, "in_progress")
    while waiting:
        await asyncio.sleep(_POLL_S)
        waiting = await _files_of(session, source, "in_progress")
    failed = await _files_of(session, source, "failed")
    return sorted((file["attributes"]["key"], file["last_error"]["message"]) for file in failed)


async def _files_of(
    session: aiohttp.ClientSession, source: dict[str, Any], status: str
) -> list[dict[str, Any]]:
    """Return the files of a source's store that it brought and that have this status."""
    path, found = f"/v1/vector_stores/{source['vector_store_id']}/files", []
    asked = {"filter": status, "limit": "100"}
    while True:
        page = await _ask(session, "GET", path, params=asked)
        found += [each for each in page["data"] if each["attributes"].get("source") == source["id"]]
        if not page["has_more"]:
            return found
        asked["after"] = page["last_id"]


async def remove_source(
    credentials: Credentials, store: str | None, source_id: str, *, with_files: bool
) -> None:
    """Delete a source, and what was read from it where that is asked for.

    Raises:
        ConfigError: The service does not answer, or has no such source.
    """
    async with _sources(credentials, store) as (session, path):
        query = {"remove_files": str(with_files).lower()}
        await _ask(session, "DELETE", f"{path}/{segment(source_id)}", params=query)


@asynccontextmanager
async def _sources(
    credentials: Credentials, store: str | None
) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    store = store or credentials.store
    if not store:
        raise ConfigError("name the vector store: --store, or NARU_STORE")
    async with connect(credentials) as session:
        yield session, f"/v1/vector_stores/{store}/sources"


async def _ask(
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    *,
    json: dict[str, Any] | None = None,
    params: dict[str, str] | None = None,
) -> dict[str, Any]:
    async with session.request(method, path, json=json, params=params) as response:
        answer = await response.json(content_type=None)
    if response.status >= 400:
        hint = ": --store names the vector store to look in" if response.status == 404 else ""
        raise ConfigError(f"{answer['error']['message']}{hint}")
    return dict(answer)


def _line(source: dict[str, Any]) -> str:
    origin = dict(source["origin"])
    kind = origin.pop("kind")
    if kind == "urls":
        place = f"{len(origin['urls'])} URL(s)"
    else:
        place = "/".join(part for part in origin.values() if part)
    words = [source["id"], kind, place, source["schedule"] or "by hand", _went(source["last_run"])]
    return "  ".join(words)


def _went(run: dict[str, Any] | None) -> str:
    if run is None:
        return "not read yet"
    counts = ", ".join(f"{run[name]} {name}" for name in _COUNTS if run[name])
    status = run["status"] if run["complete"] or run["status"] != "completed" else "incomplete"
    reason = f" ({run['reason']})" if run["reason"] else ""
    return f"{status}: {counts or 'nothing there'}{reason}"
