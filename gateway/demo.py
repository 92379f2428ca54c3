"""The demo: a tenant, a client, a key, an agent, and the handbook it answers from.

Made once; a later start finds everything again and only reads what changed in the handbook.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import msgspec

from auth import SecretBox, create_client, create_key, create_tenant
from auth.clients import find_key
from config.errors import ConfigError
from config.postgres import open_pool
from config.scope import TenantScope
from config.settings import Settings
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition
from gateway.agents.registry import find_agent
from gateway.children import say
from gateway.credentials import Credentials
from gateway.errors import NotFound as AgentNotFound
from gateway.generation.models import DEFAULT_ALIAS
from rag.errors import NotFound
from rag.files import create_file, delete_file
from rag.storage import Storage, open_storage
from rag.store_files import StoreFile, add_file, get_store_file
from rag.stores import create_store, get_store

AGENT = "hr-assistant"
HANDBOOK = Path(__file__).resolve().parent.parent / "demo" / "handbook"

_TENANT = "demo"
_SUFFIXES = {".pdf", ".md", ".html", ".txt"}
_STATE = "demo-handbook.json"
_INGEST_S = 300.0
_POLL_S = 0.2
_INSTRUCTIONS = (
    "You answer questions of employees about the company's policies, from the documents alone. "
    "Answer in the language of the question."
)


class _Read(msgspec.Struct, frozen=True):
    """A handbook file as it was ingested."""

    sha256: str
    file_id: str


@dataclass(frozen=True, slots=True)
class _Demo:
    """Where and as whom the demo's objects are made."""

    db: asyncpg.Pool
    scope: TenantScope
    store: str
    model: str
    storage: Storage


@dataclass(frozen=True, slots=True)
class _Places:
    """The database as the service sees it, and as identity does."""

    db: asyncpg.Pool
    identity: asyncpg.Pool
    box: SecretBox


async def provision(settings: Settings, database_url: str, model: str | None = None) -> Credentials:
    """Bring the demo up to date and write `demo.env`; return when the handbook can be searched.

    `model` is the alias that the demo's agent answers with, where it is not the default one.

    Raises:
        ConfigError: The handbook is missing or is not read in time.
    """
    data_dir = settings.data_dir.resolve()
    box = SecretBox.load(settings.auth, data_dir)
    async with (
        await open_pool(database_url, size=4) as db,
        await open_pool(database_url, size=1, role="naru_auth") as identity,
    ):
        places = _Places(db, identity, box)
        found = await _known(places, data_dir)
        credentials, scope = found or await _create(places, settings)
        credentials = replace(credentials, url=settings.server.url)
        credentials.write(data_dir)
        storage = open_storage(settings.files)
        demo = _Demo(db, scope, credentials.store, model or DEFAULT_ALIAS, storage)
        if not found or await _wants_agent(demo):
            await save_agent(demo.db, demo.scope, _definition(demo))
        await _ingest_handbook(demo, data_dir)
    return credentials


async def _known(places: _Places, data_dir: Path) -> tuple[Credentials, TenantScope] | None:
    """Return the last run's credentials when they are still good."""
    credentials = Credentials.read(data_dir)
    if credentials is None:
        return None
    holder = await find_key(places.identity, places.box, credentials.api_key)
    try:
        if holder is not None:
            await get_store(places.db, holder.scope, credentials.store)
            return credentials, holder.scope
    except NotFound:
        pass
    say("  demo.env does not fit this database: making a new client and key")
    return None


async def _create(places: _Places, settings: Settings) -> tuple[Credentials, TenantScope]:
    identity, box = places.identity, places.box
    await create_tenant(identity, _TENANT, "Demo")
    client = await create_client(identity, box, _TENANT, name="demo")
    key = await create_key(identity, box, client.client_id)
    holder = await find_key(identity, box, key.key)
    if holder is None:
        raise RuntimeError("a key that was just made is not found")
    scope = holder.scope
    store = await create_store(places.db, scope, name="Handbook")
    credentials = Credentials(
        settings.server.url, client.client_id, client.client_secret, key.key, AGENT, store.id
    )
    return credentials, scope


async def _wants_agent(demo: _Demo) -> bool:
    """Tell whether there is no agent, or one of an earlier start that only had another model.

    One that was changed is left as it is: there may have been a purpose.
    """
    try:
        found = (await find_agent(demo.db, demo.scope, AGENT)).definition
    except AgentNotFound:
        return True
    wanted = _definition(demo)
    return found != wanted and msgspec.structs.replace(found, model=demo.model) == wanted


def _definition(demo: _Demo) -> AgentDefinition:
    return AgentDefinition(
        name=AGENT, instructions=_INSTRUCTIONS, model=demo.model, vector_stores=(demo.store,)
    )


async def _ingest_handbook(demo: _Demo, data_dir: Path) -> None:
    if not HANDBOOK.is_dir():
        raise ConfigError(f"--demo needs the repository's handbook, and {HANDBOOK} is missing")
    state = data_dir / _STATE
    before = (
        msgspec.json.decode(state.read_bytes(), type=dict[str, _Read]) if state.exists() else {}
    )
    now = {}
    for path in sorted(HANDBOOK.iterdir()):
        if path.suffix in _SUFFIXES:
            now[path.name] = await _put(demo, path, before.get(path.name))
    draft = state.with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(now))
    draft.replace(state)
    await _wait_until_read(demo, {read.file_id: name for name, read in now.items()})


async def _put(demo: _Demo, path: Path, before: _Read | None) -> _Read:
    """Return the file as ingested; hand it in unless the store holds the same."""
    content = await asyncio.to_thread(path.read_bytes)
    digest = hashlib.sha256(content).hexdigest()
    stored = await _find(demo, before.file_id) if before else None
    if before and stored and stored.status != "failed" and before.sha256 == digest:
        return before
    if before and stored:
        await delete_file(demo.db, demo.scope, before.file_id)

    async def whole() -> AsyncIterator[bytes]:
        yield content

    file = await create_file(
        demo.db,
        demo.scope,
        filename=path.name,
        purpose="assistants",
        parts=whole(),
        storage=demo.storage,
    )
    await add_file(demo.db, demo.scope, demo.store, file.id)
    return _Read(digest, file.id)


async def _find(demo: _Demo, file_id: str) -> StoreFile | None:
    try:
        return await get_store_file(demo.db, demo.scope, demo.store, file_id)
    except NotFound:
        return None


async def _wait_until_read(demo: _Demo, names: dict[str, str]) -> None:
    """Return when no file of the handbook is in progress any more, telling of each that was."""
    told: set[str] = set()
    waited = False
    try:
        async with asyncio.timeout(_INGEST_S):
            while len(told) < len(names):
                for file_id in names.keys() - told:
                    file = await _find(demo, file_id)
                    if file is None or file.status != "in_progress":
                        told.add(file_id)
                        _tell(names[file_id], file, news=waited)
                waited = True
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise ConfigError(f"the handbook is not read after {_INGEST_S:g} s") from None


def _tell(name: str, file: StoreFile | None, *, news: bool) -> None:
    if file and file.status == "completed":
        if news:
            say(f"  read {name}")
        return
    reason = file.last_error.message if file and file.last_error else "it was removed"
    say(f"  could not read {name}: {reason}")
