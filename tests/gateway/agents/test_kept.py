"""A kept turn tells what is stored, and ends when nobody has waited for it for too long."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from support import scope_of

from config.settings import SessionSettings
from gateway.agents.kept import KeptRun
from gateway.sessions.parts import Opened, Part, Said
from gateway.sessions.turns import Standing

OPENED = Opened("model", 1, None, [], "hr", 1)


class Store:
    """Plays the database: what was stored, and how the turn stands."""

    def __init__(self) -> None:
        self.standing = Standing(live=True, lost=False, away_s=0.0)
        self.failing = 0
        self.writes: list[tuple[int, list[Part]]] = []
        self.told = asyncio.Event()
        self.errors: list[bytes] = []

    async def tell(self, _: Any, __: str, first: int, parts: Sequence[Part]) -> Standing:
        await asyncio.sleep(0)
        if parts:
            self.writes.append((first, [*parts]))
        if self.failing:
            self.failing -= 1
            raise OSError("the answer got lost on its way")
        self.told.set()
        return self.standing

    async def break_off(self, _: Any, __: str, error: bytes, *, lapsed: bool) -> None:
        self.errors.append(error)

    @property
    def parts(self) -> list[Part]:
        """What a reader finds: a part that is written again takes its own place."""
        kept: dict[int, Part] = {}
        for first, parts in self.writes:
            kept |= dict(enumerate(parts, start=first))
        return [kept[number] for number in sorted(kept)]


@pytest.fixture
def store() -> Store:
    return Store()


def run_of(store: Store, **settings: float) -> KeptRun:
    kept: Any = store
    return KeptRun(kept, scope_of(), "msg", SessionSettings.model_validate(settings))


async def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_what_is_told_is_stored(store: Store) -> None:
    run = run_of(store)

    async def work() -> None:
        await run.open(OPENED)
        for word in ["one", "two", "three"]:
            run.say(Said(word))
            assert run.told == store.parts[: len(run.told)]
            await asyncio.sleep(0.02)
        await until(lambda: len(run.told) == 4)

    await run.run(work())
    assert run.told == store.parts == [OPENED, Said("one"), Said("two"), Said("three")]


async def test_a_write_in_doubt_is_made_again_at_its_place(store: Store) -> None:
    run = run_of(store)

    async def work() -> None:
        await run.open(OPENED)
        store.failing = 2
        run.say(Said("one"))
        await until(lambda: not store.failing)
        run.say(Said("two"))
        await until(lambda: len(run.told) == 3)

    await run.run(work())
    assert run.told == store.parts == [OPENED, Said("one"), Said("two")]
    assert len(store.writes) > 3


async def test_whoever_waits_elsewhere_keeps_it_going(store: Store) -> None:
    run = run_of(store, resume_grace_s=0.2)
    working = asyncio.create_task(run.run(asyncio.Event().wait()))  # type: ignore[arg-type]
    with run.followed():
        store.standing = Standing(live=True, lost=False, away_s=99.0)
        await asyncio.sleep(0.5)
        assert not working.done(), "somebody waits here"
        store.standing = Standing(live=True, lost=False, away_s=0.1)
    await asyncio.sleep(0.5)
    assert not working.done(), "somebody waits in another process"
    store.standing = Standing(live=True, lost=False, away_s=99.0)
    await asyncio.wait_for(working, 20)
    assert b"stream_abandoned" in store.errors[0]


async def test_what_is_not_its_own_any_more_ends(store: Store) -> None:
    run = run_of(store)
    store.standing = Standing(live=False, lost=True, away_s=0.0)
    await asyncio.wait_for(run.run(asyncio.Event().wait()), 20)  # type: ignore[arg-type]
    assert b"turn_lost" in store.errors[0]


async def test_an_end_that_is_stored_is_not_told_by_parts(store: Store) -> None:
    """What was not stored before the answer was, the answer tells."""
    run = run_of(store)

    async def work() -> None:
        await run.open(OPENED)
        store.standing = Standing(live=False, lost=False, away_s=0.0)
        run.say(Said("one"))
        store.told.clear()
        await store.told.wait()

    await run.run(work())
    assert run.told == [OPENED]
    assert store.errors == []


async def test_the_servers_end(store: Store) -> None:
    run = run_of(store)
    working = asyncio.create_task(run.run(asyncio.Event().wait()))  # type: ignore[arg-type]
    await store.told.wait()
    run.stop()
    await asyncio.wait_for(working, 20)
    assert b"server_shutdown" in store.errors[0]
