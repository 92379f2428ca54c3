"""`naru store`: vector stores of the running service, over its own API."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from config.errors import ConfigError
from gateway.commands.remote import call, connect, segment
from gateway.credentials import Credentials

_PATH = "/v1/vector_stores"


async def list_stores(credentials: Credentials) -> list[dict[str, Any]]:
    """Return every store, the newest first.

    Raises:
        ConfigError: The service does not answer, or refuses.
    """
    async with connect(credentials) as session:
        return [store async for store in _every(session)]


async def create_store(credentials: Credentials, name: str, expires_after_days: int | None) -> str:
    """Make a store and return its id.

    Raises:
        ConfigError: The service does not answer, or refuses.
    """
    body: dict[str, Any] = {"name": name}
    if expires_after_days is not None:
        body["expires_after"] = {"anchor": "last_active_at", "days": expires_after_days}
    async with connect(credentials) as session:
        return str((await call(session, "POST", _PATH, json=body))["id"])


async def delete_store(credentials: Credentials, store: str) -> None:
    """Delete a store, named by its id or a name that no other has; its files stay.

    Raises:
        ConfigError: The service does not answer, or refuses; there is no such store, or several.
    """
    async with connect(credentials) as session:
        await call(session, "DELETE", f"{_PATH}/{await find_store(session, store)}")


async def find_store(session: aiohttp.ClientSession, store: str) -> str:
    """Return the id of a store, named by it or by a name that no other has.

    Raises:
        ConfigError: There are several stores of this name, or the service refuses.
    """
    if store.startswith("vs_") and segment(store) == store:
        return store
    found = [each["id"] async for each in _every(session) if each["name"] == store]
    if len(found) > 1:
        raise ConfigError(f"several stores are called {store!r}: {', '.join(found)}")
    if not found:
        raise ConfigError(f"no store is called {store!r}: see `naru store list`")
    return str(found[0])


async def _every(session: aiohttp.ClientSession) -> AsyncIterator[dict[str, Any]]:
    after = ""
    while True:
        page = await call(session, "GET", f"{_PATH}?limit=100&after={after}")
        for store in page["data"]:
            yield store
        after = page["last_id"]
        if not page["has_more"]:
            return
