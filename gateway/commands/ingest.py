"""`naru ingest`: documents into a vector store of the running service, over its own API."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import typer
from rich.console import Console
from rich.progress import Progress

from config.errors import ConfigError
from gateway.commands.remote import connect
from gateway.commands.stores import find_store
from gateway.credentials import Credentials
from rag.parse import SUFFIXES, SUPPORTED

_AT_ONCE = 4
_POLL_S = 0.3
_READ_LIMIT_S = 900.0


class Refused(Exception):
    """One document was not taken or could not be read; the message says why."""


@dataclass(frozen=True, slots=True)
class _Service:
    session: aiohttp.ClientSession
    store: str


async def ingest_files(credentials: Credentials, paths: Sequence[Path], store: str | None) -> int:
    """Add the files to a store and wait until they are read; return how many failed.

    The store is named by its id, or by a name that no other has.

    Raises:
        ConfigError: There is nothing to do, or the service does not answer.
    """
    files, skipped = find_files(paths)
    store = store or credentials.store
    if not files:
        raise ConfigError(f"no documents there ({SUPPORTED})")
    if not store:
        raise ConfigError("name the vector store: --store, or NARU_STORE")
    async with connect(credentials) as session:
        store = await find_store(session, store)
        failures = await _ingest_all(_Service(session, store), files)
    for path, reason in failures:
        typer.echo(f"{path}: {reason}", err=True)
    if skipped:
        typer.echo(f"{skipped} file(s) of other formats skipped", err=True)
    typer.echo(f"{len(files) - len(failures)} of {len(files)} document(s) added to {store}")
    return len(failures)


def find_files(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """Return the files to send, folders walked for known formats, and how many others they hold."""
    files: list[Path] = []
    skipped = 0
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(entry for entry in path.rglob("[!.]*") if entry.is_file())
        known = [entry for entry in inside if entry.suffix.lower() in SUFFIXES]
        files += known
        skipped += len(inside) - len(known)
    return files, skipped


async def _ingest_all(service: _Service, files: Sequence[Path]) -> list[tuple[Path, str]]:
    failures: list[tuple[Path, str]] = []
    gate = asyncio.Semaphore(_AT_ONCE)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("reading", total=len(files))

        async def one(path: Path) -> None:
            try:
                async with gate:
                    await _ingest(service, path)
            except Refused as error:
                failures.append((path, str(error)))
            progress.advance(bar)

        await asyncio.gather(*(one(path) for path in files))
    return sorted(failures)


async def _ingest(service: _Service, path: Path) -> None:
    """Upload one file, attach it, and return when it can be searched.

    Raises:
        Refused: It can't be read here or there, or is not taken.
    """
    file_id = await _upload(service, path)
    folder = f"/v1/vector_stores/{service.store}/files"
    async with service.session.post(folder, json={"file_id": file_id}) as response:
        state = await _answer(response)
    deadline = time.monotonic() + _READ_LIMIT_S
    while state["status"] == "in_progress":
        if time.monotonic() > deadline:
            raise Refused(f"it is not read after {_READ_LIMIT_S:g} s; the service goes on with it")
        await asyncio.sleep(_POLL_S)
        async with service.session.get(f"{folder}/{file_id}") as response:
            state = await _answer(response)
    if state["status"] != "completed":
        raise Refused((state["last_error"] or {}).get("message") or state["status"])


async def _upload(service: _Service, path: Path) -> str:
    try:
        with path.open("rb") as file:
            form = aiohttp.FormData({"purpose": "assistants"}, quote_fields=False)
            form.add_field("file", file, filename=path.name)
            async with service.session.post("/v1/files", data=form) as response:
                return str((await _answer(response))["id"])
    except aiohttp.ClientOSError as error:
        if isinstance(error, aiohttp.ClientConnectorError):
            raise
        raise Refused("the service hung up while it was sent: it may be too large") from None
    except OSError as error:
        raise Refused(error.strerror or "it can't be read") from None


async def _answer(response: aiohttp.ClientResponse) -> dict[str, Any]:
    answer = await response.json(content_type=None)
    if response.status == 401:
        raise ConfigError(f"the service refuses the credentials: {answer['error']['message']}")
    if response.status != 200:
        raise Refused(f"{answer['error']['message']} (HTTP {response.status})")
    return dict(answer)
