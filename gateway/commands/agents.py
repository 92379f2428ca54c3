"""`naru agent`: agents of the running service, over its own API."""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from config.errors import ConfigError
from gateway.agents.definition import AgentDefinition
from gateway.commands.remote import call, connect, segment
from gateway.commands.stores import find_store
from gateway.credentials import Credentials

_PATH = "/v1/agents"


async def list_agents(credentials: Credentials) -> list[dict[str, Any]]:
    """Return the agents, by name.

    Raises:
        ConfigError: The service does not answer, or refuses.
    """
    return await _data(credentials, _PATH)


async def get_agent(credentials: Credentials, address: str) -> dict[str, Any]:
    """Return an agent, by `name`, `name@version` or `name@alias`.

    Raises:
        ConfigError: The service does not answer, or refuses.
    """
    async with connect(credentials) as session:
        return await call(session, "GET", f"{_PATH}/{segment(address)}")


async def list_versions(credentials: Credentials, name: str) -> list[dict[str, Any]]:
    """Return the newest 100 versions of an agent.

    Raises:
        ConfigError: The service does not answer, or refuses.
    """
    return await _data(credentials, f"{_PATH}/{segment(name)}/versions?limit=100")


async def apply(credentials: Credentials, file: Path) -> dict[str, Any]:
    """Make the agent of a file, or make it this; vector stores may be named.

    Raises:
        ConfigError: The file is no agent; the service does not answer, or refuses.
    """
    definition = _read(file)
    async with connect(credentials) as session:
        stores = [await find_store(session, store) for store in definition.vector_stores]
        named = msgspec.structs.replace(definition, vector_stores=tuple(stores))
        body = msgspec.to_builtins(named)
        known = {each["name"]: each for each in (await call(session, "GET", _PATH))["data"]}
        if named.name not in known:
            return await call(session, "POST", _PATH, json=body)
        gone = known[named.name]["variables"].keys() - body["variables"].keys()
        body["variables"] |= dict.fromkeys(gone)
        return await call(session, "PATCH", f"{_PATH}/{named.name}", json=body)


async def roll_back(credentials: Credentials, name: str, version: int | None) -> dict[str, Any]:
    """Let an agent's plain name mean an earlier version again; without one, the one before.

    Raises:
        ConfigError: The service does not answer, or refuses.
    """
    async with connect(credentials) as session:
        path = f"{_PATH}/{segment(name)}/rollback"
        return await call(session, "POST", path, json={"version": version})


async def point(credentials: Credentials, name: str, alias: str, targets: list[str]) -> None:
    """Let an alias point at versions, each `NUMBER` or `NUMBER:WEIGHT`.

    Raises:
        ConfigError: A target is none; the service does not answer, or refuses.
    """
    body = {"targets": [_target(each) for each in targets]}
    async with connect(credentials) as session:
        path = f"{_PATH}/{segment(name)}/aliases/{segment(alias)}"
        await call(session, "PUT", path, json=body)


async def delete_agent(credentials: Credentials, name: str) -> None:
    """Delete an agent with its versions and aliases.

    Raises:
        ConfigError: The service does not answer, or refuses.
    """
    async with connect(credentials) as session:
        await call(session, "DELETE", f"{_PATH}/{segment(name)}")


async def _data(credentials: Credentials, path: str) -> list[dict[str, Any]]:
    async with connect(credentials) as session:
        return list((await call(session, "GET", path))["data"])


def _read(file: Path) -> AgentDefinition:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(values, dict):
            # Files of the operator's folder name their tenant; here it is the caller's.
            values.pop("tenant", None)
        return msgspec.convert(values, AgentDefinition)
    except OSError as error:
        raise ConfigError(f"can't read {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{file} is no agent: {' '.join(str(error).split())}") from None


def _target(text: str) -> dict[str, int]:
    version, _, weight = text.partition(":")
    try:
        return {"version": int(version), "weight": int(weight or 1)}
    except ValueError:
        raise ConfigError(f"{text!r} is no NUMBER or NUMBER:WEIGHT") from None
