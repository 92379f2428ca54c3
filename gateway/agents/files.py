"""Agents as files of the operator's: read, checked, and kept in step with the registry.

A file becomes a version like any other. One that can't be used changes nothing: the agent stays as
it was, and the log says why. Every process that looks finds what another one has done already, and
makes no second version of it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import yaml

from config.agents import AgentSettings
from config.postgres import UNREACHABLE, Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.agents.changes import (
    check_definition,
    check_stores,
    save_agent,
    taken_by_model,
)
from gateway.agents.definition import AgentDefinition
from gateway.errors import GatewayError, InvalidRequest

_SQL = load_queries("gateway.agents", "queries.sql")
_log = logging.getLogger(__name__)
_SUFFIXES = {".yaml", ".yml"}
_MOST_FILES = 1000
_MOST_BYTES = 1_000_000

Key = tuple[str, str]
"""An agent's tenant and name."""


class AgentFile(msgspec.Struct, frozen=True):
    """What a file says: whose agent it is, and what it is."""

    tenant: str
    definition: AgentDefinition


class Refused(Exception):
    """A file can't be used; the message says why."""


class AgentFiles:
    """Keeps the agents of a folder in step with it; one per job worker.

    `knows_model` tells whether the settings have a model of that name. The pool works as
    `naru_jobs`.
    """

    def __init__(
        self, pool: asyncpg.Pool, folder: Path, knows_model: Callable[[str], bool]
    ) -> None:
        self._pool = pool
        self._folder = folder
        self._knows_model = knows_model
        self._read: Mapping[str, bytes] | None = None
        self._taken: dict[str, bytes] = {}
        self._named: set[Key] | None = None
        self._told: dict[str, str] = {}

    async def look(self) -> None:
        """Take what is new or changed; withdraw the agents whose files are gone."""
        try:
            read = await asyncio.to_thread(read_folder, self._folder)
        except OSError as error:
            self._tell(str(error.filename), f"it can't be read: {error.strerror}")
            return
        self._forget_all_but(read)
        # A file may be half written: only what reads the same twice is taken, but at the start.
        before, self._read = self._read, read
        settled = {name for name in read if before is None or before.get(name) == read[name]}
        files = self._parsed(read)
        for name in sorted(settled & files.keys()):
            if self._taken.get(name) != read[name]:
                await self._take(name, files[name], read[name])
        # One that is not taken may be another agent's from now on: which one is gone is not known.
        if self._taken == read:
            await self._withdraw({_key(file) for file in files.values()})

    def _parsed(self, read: Mapping[str, bytes]) -> dict[str, AgentFile]:
        """Return the files that say whose agent they are; two of the same are neither."""
        files = {}
        for name, content in read.items():
            try:
                files[name] = parse(content)
            except Refused as reason:
                self._tell(name, str(reason))
        counted = Counter(_key(file) for file in files.values())
        for name in [name for name, file in files.items() if counted[_key(file)] > 1]:
            self._tell(name, f"another file names `{files.pop(name).definition.name}` as well")
        return files

    async def _take(self, name: str, file: AgentFile, content: bytes) -> None:
        try:
            changed = await self._apply(file)
        except (Refused, GatewayError) as reason:
            self._tell(name, str(reason))
        except asyncpg.ForeignKeyViolationError:
            self._tell(name, f"tenant: there is no `{file.tenant}`")
        else:
            self._taken[name] = content
            self._told.pop(name, None)
            if changed:
                _log.info("agent `%s` of `%s` is taken from %s", *reversed(_key(file)), name)

    async def _apply(self, file: AgentFile) -> bool:
        definition = file.definition
        check_definition(definition)
        if self._knows_model(definition.name):
            raise taken_by_model(definition.name)
        if not self._knows_model(definition.model):
            raise InvalidRequest(f"model: the settings have no `{definition.model}`")
        scope = TenantScope(file.tenant, client="", scopes=frozenset())
        async with tenant_transaction(self._pool, file.tenant) as con:
            stores = [await _store_id(con, scope, store) for store in definition.vector_stores]
            await check_stores(con, scope, stores)
            named = msgspec.structs.replace(definition, vector_stores=tuple(stores))
            return await save_agent(con, scope, named, "file")

    async def _withdraw(self, named: set[Key]) -> None:
        if named == self._named:
            return
        rows = await self._pool.fetch(_SQL["agents_of_files"])
        for tenant, name in {(row["tenant"], row["name"]) for row in rows} - named:
            async with tenant_transaction(self._pool, tenant) as con:
                await con.execute(_SQL["withdraw_agent"], tenant, name)
            _log.warning("agent `%s` of `%s` is withdrawn: its file is gone", name, tenant)
        self._named = named

    def _forget_all_but(self, read: Mapping[str, bytes]) -> None:
        self._taken = {name: self._taken[name] for name in self._taken.keys() & read.keys()}
        self._told = {name: self._told[name] for name in self._told.keys() & read.keys()}

    def _tell(self, name: str, reason: str) -> None:
        """Log why a file is not taken, once."""
        if self._told.get(name) != reason:
            _log.warning("agent file %s is not taken: %s", name, reason)
        self._told[name] = reason


async def watch_files(
    pool: asyncpg.Pool, settings: AgentSettings, knows_model: Callable[[str], bool]
) -> None:
    """Look at the folder for ever; return at once where there is none."""
    if settings.folder is None:
        return
    files = AgentFiles(pool, settings.folder, knows_model)
    while True:
        try:
            await files.look()
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            _log.warning("agent files wait for the store: %s", type(error).__name__)
        await asyncio.sleep(settings.poll_s)


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the contents of the folder's YAML files by name; it blocks.

    Raises:
        OSError: It, or one of them, can't be read.
    """
    paths = [path for path in folder.iterdir() if path.suffix in _SUFFIXES]
    paths = [path for path in paths if path.is_file() and not path.name.startswith(".")]
    return {path.name: _content(path) for path in sorted(paths)[:_MOST_FILES]}


def parse(content: bytes) -> AgentFile:
    """Return what a file says.

    Raises:
        Refused: It is no agent; says why.
    """
    if len(content) > _MOST_BYTES:
        raise Refused(f"it is over the limit of {_MOST_BYTES:,} bytes")
    try:
        values = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise Refused(f"it is not valid YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(values, dict) or not isinstance(values.get("tenant"), str):
        raise Refused("tenant: name whose agent it is")
    tenant = values.pop("tenant")
    if "\0" in tenant:
        raise Refused("tenant: there is none of that name")
    return AgentFile(tenant, _definition(values))


def _definition(values: dict[Any, Any]) -> AgentDefinition:
    try:
        definition = msgspec.convert(values, AgentDefinition)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Refused(str(error).replace("$.", "")[:300]) from None
    if b"\\u0000" in msgspec.json.encode(definition):
        raise Refused("it holds a NUL character: remove it")
    return definition


async def _store_id(con: Connection, scope: TenantScope, store: str) -> str:
    """Return a store's id, given it or a name that no other store of the tenant has."""
    if store.startswith("vs_"):
        return store
    rows = await con.fetch(_SQL["stores_named"], scope.tenant, store)
    if len(rows) != 1:
        many = "several vector stores are" if rows else "no vector store is"
        raise Refused(f"vector_stores: {many} called `{store}`")
    return str(rows[0]["id"])


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES + 1)


def _key(file: AgentFile) -> Key:
    return file.tenant, file.definition.name
