"""A turn of this store, as who comes back to it finds it."""

from dataclasses import replace

import asyncpg
import pytest
from support import scope_of

from config.postgres import tenant_transaction
from config.settings import SessionSettings
from gateway.openai.chat import Usage
from gateway.sessions.store import Sessions, Turn, new_message_id
from gateway.sessions.turns import Keeping, NewTurn, TurnStore

ANNA = replace(scope_of("acme", "app"), end_user="anna")
USAGE = Usage(1, 1, 2)


async def stored_in_part(pool: asyncpg.Pool) -> tuple[TurnStore, str]:
    """A kept turn whose process has stored half an answer, and not said yet why."""
    store, message_id = TurnStore(pool, SessionSettings(), None), new_message_id()
    keeping = Keeping(b"request", None, b"{}")
    await store.begin(ANNA, NewTurn(message_id, "s", "hr", "?", keeping))
    turn = Turn(message_id, "hr", "?", "half", "model", [], USAGE, complete=False)
    await Sessions(pool).add_turn(ANNA, "s", turn)
    return store, message_id


async def test_what_is_stored_in_part_ends_when_it_is_told_why(pool: asyncpg.Pool) -> None:
    store, message_id = await stored_in_part(pool)
    turn = await store.read(ANNA, message_id)
    assert (turn.ended, turn.dead) == (False, False)
    await store.break_off(ANNA, message_id, b'{"code": "stream_abandoned"}', lapsed=False)
    turn = await store.read(ANNA, message_id)
    assert (turn.ended, turn.state) == (True, "partial")
    assert turn.error == b'{"code": "stream_abandoned"}'


async def test_nobody_waits_for_a_reason_that_a_dead_process_owes(pool: asyncpg.Pool) -> None:
    store, message_id = await stored_in_part(pool)
    async with tenant_transaction(pool, ANNA.tenant) as con:
        await con.execute("UPDATE turns SET lease = now() WHERE message = $1", message_id)
    turn = await store.read(ANNA, message_id)
    assert (turn.ended, turn.dead, turn.error) == (True, False, None)


@pytest.mark.parametrize("lapsed", [False, True])
async def test_a_turn_that_said_nothing_fails(pool: asyncpg.Pool, lapsed: bool) -> None:
    store, message_id = TurnStore(pool, SessionSettings(), None), new_message_id()
    await store.begin(ANNA, NewTurn(message_id, "s", "hr", "?", Keeping(b"request", None, b"{}")))
    await store.break_off(ANNA, message_id, b"{}", lapsed=lapsed)
    assert (await store.read(ANNA, message_id)).state == "failed"
