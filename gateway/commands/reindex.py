"""`naru store reindex`: a store is read again, over the service's own API."""

import asyncio
from typing import Any

from config.errors import ConfigError
from gateway.commands.remote import call, connect
from gateway.commands.stores import find_store
from gateway.credentials import Credentials

_POLL_S = 1.0


def body_of(model: str | None, chunk_tokens: int | None, overlap: int | None) -> dict[str, Any]:
    """Return what asks for it.

    Raises:
        ConfigError: An overlap goes without the chunks' size.
    """
    body: dict[str, Any] = {} if model is None else {"model": model}
    if chunk_tokens is not None:
        sizes = {"max_chunk_size_tokens": chunk_tokens, "chunk_overlap_tokens": overlap or 0}
        body["chunking_strategy"] = {"type": "static", "static": sizes}
    elif overlap is not None:
        raise ConfigError("--overlap goes with --chunk-tokens")
    return body


async def reindex(
    credentials: Credentials, store: str, body: dict[str, Any], *, wait: bool
) -> tuple[str, bool]:
    """Have a store read again; return how that stands, waited for or not, and whether it is well.

    Raises:
        ConfigError: The service does not answer, or refuses; somebody has cancelled it.
    """
    async with connect(credentials) as session:
        path = f"/v1/vector_stores/{await find_store(session, store)}"
        found = (await call(session, "POST", f"{path}/reindex", json=body))["reindex"]
        started = found["started_at"]
        while wait and found["status"] == "in_progress":
            await asyncio.sleep(_POLL_S)
            found = (await call(session, "GET", path)).get("reindex")
            if found is None or found["started_at"] < started:
                raise ConfigError(f"reading {store} again was cancelled")
    return _line(found), found["status"] != "failed"


async def cancel_reindex(credentials: Credentials, store: str) -> None:
    """Give up reading a store again.

    Raises:
        ConfigError: The service does not answer, or refuses.
    """
    async with connect(credentials) as session:
        path = f"/v1/vector_stores/{await find_store(session, store)}/reindex"
        await call(session, "DELETE", path)


def _line(reindex: dict[str, Any]) -> str:
    done = f"{reindex['documents_done']} of {reindex['documents_total']} documents"
    error = reindex["last_error"]
    reason = f": {error['message']}" if error else ""
    return f"{reindex['status']}  {reindex['model']}  {done}{reason}"
