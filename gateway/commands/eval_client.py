"""A set of questions asked of the running service, over its own API."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from rich.console import Console
from rich.progress import Progress

from config.errors import ConfigError
from gateway.commands.remote import call, connect
from gateway.credentials import Credentials
from rag.eval.abstention import Judged
from rag.eval.metrics import Found
from rag.eval.report import Asked
from rag.eval.sets import EvalSet, Question

_AT_ONCE = 4
_POLL_S = 0.5
_READ_LIMIT_S = 4 * 3600.0
_RESULTS = 50  # the most a search gives
_AGENT_RESULTS = 5  # what an agent gets by default
_NAME_CHARS = 200
_ERR = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class _Store:
    """Where to search; `names` tells a file's name in the set, by the file's id."""

    session: aiohttp.ClientSession
    id: str
    names: Mapping[str, str]


async def run_set(credentials: Credentials, questions: EvalSet, store: str | None) -> list[Asked]:
    """Ask every question and return what was found.

    Without `store` the set's documents are read into a store of their own, which is deleted
    afterwards with them.

    Raises:
        ConfigError: The service does not answer, refuses something, or there is nowhere to look.
    """
    if not store and not questions.documents:
        raise ConfigError("the set has no documents: name the vector store that has them, --store")
    async with connect(credentials) as session:
        if store:
            return await _ask_all(_Store(session, store, {}), questions.questions)
        async with _filled_store(session, questions.documents) as filled:
            return await _ask_all(filled, questions.questions)


@asynccontextmanager
async def _filled_store(
    session: aiohttp.ClientSession, documents: Mapping[str, bytes]
) -> AsyncIterator[_Store]:
    made = await call(session, "POST", "/v1/vector_stores", json={"name": "naru eval"})
    names: dict[str, str] = {}
    try:
        await _upload_all(session, made["id"], documents, names)
        await _until_read(session, made["id"], len(documents))
        yield _Store(session, made["id"], names)
    finally:
        await call(session, "DELETE", f"/v1/vector_stores/{made['id']}")
        await _each("deleting", names, lambda file: call(session, "DELETE", f"/v1/files/{file}"))


async def _upload_all(
    session: aiohttp.ClientSession,
    store: str,
    documents: Mapping[str, bytes],
    names: dict[str, str],
) -> None:
    async def one(name: str) -> None:
        form = aiohttp.FormData({"purpose": "assistants"}, quote_fields=False)
        shown = name.replace("/", " ")[-_NAME_CHARS:]
        form.add_field("file", documents[name], filename=shown)
        file = await call(session, "POST", "/v1/files", data=form)
        names[file["id"]] = name
        await call(
            session, "POST", f"/v1/vector_stores/{store}/files", json={"file_id": file["id"]}
        )

    await _each("sending", documents, one)


async def _until_read(session: aiohttp.ClientSession, store: str, total: int) -> None:
    """Wait until no document is in progress; one that can't be read can't be found later."""
    deadline = time.monotonic() + _READ_LIMIT_S
    with Progress(console=_ERR) as progress:
        bar = progress.add_task("reading", total=total)
        while True:
            counts = (await call(session, "GET", f"/v1/vector_stores/{store}"))["file_counts"]
            progress.update(bar, completed=total - counts["in_progress"])
            if not counts["in_progress"]:
                break
            if time.monotonic() > deadline:
                raise ConfigError(f"the documents are not read after {_READ_LIMIT_S:g} s")
            await asyncio.sleep(_POLL_S)
    if failed := total - counts["completed"]:
        _ERR.print(f"{failed} of {total} document(s) could not be read: they count as not found")


async def _ask_all(store: _Store, questions: Sequence[Question]) -> list[Asked]:
    """Ask one after the other: the latency is a single caller's."""
    asked = []
    judged = any(question.unanswerable for question in questions)
    with Progress(console=_ERR) as progress:
        for question in progress.track(questions, description="asking"):
            started = time.perf_counter()
            found = await _search(store, question.text)
            seconds = time.perf_counter() - started
            verdict = await _judge(store, question.text) if judged else None
            asked.append(_asked(question, found, seconds, verdict))
    return asked


async def _search(store: _Store, text: str) -> list[Found]:
    answer = await _post_search(store, {"query": text, "max_num_results": _RESULTS})
    return [
        Found(
            source=store.names.get(row["file_id"], row["filename"]),
            page=row["page"],
            text="\n".join(part["text"] for part in row["content"]),
            lexical=row["lexical"],
            similarity=row["similarity"],
        )
        for row in answer["data"]
    ]


async def _judge(store: _Store, text: str) -> dict[str, Any]:
    """Return what an agent would judge by, of what it gets."""
    body = {"query": text, "max_num_results": _AGENT_RESULTS, "explain": True}
    return dict((await _post_search(store, body))["explain"])


def _asked(
    question: Question, found: list[Found], seconds: float, verdict: dict[str, Any] | None
) -> Asked:
    if verdict is None:
        return Asked(question, found, seconds)
    judged = Judged(not question.unanswerable, verdict["confidence"], verdict["signals"])
    return Asked(question, found, seconds, bool(verdict["answerable"]), judged)


async def _post_search(store: _Store, body: dict[str, object]) -> dict[str, Any]:
    return await call(store.session, "POST", f"/v1/vector_stores/{store.id}/search", json=body)


async def _each(what: str, items: Collection[str], work: Callable[[str], Awaitable[Any]]) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(item: str) -> None:
        async with gate:
            await work(item)
        progress.advance(bar)

    with Progress(console=_ERR) as progress:
        bar = progress.add_task(what, total=len(items))
        try:
            async with asyncio.TaskGroup() as group:
                for item in items:
                    group.create_task(one(item))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
