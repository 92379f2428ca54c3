"""A conversation is tenant's, client's and end user's; to anybody else it is not there."""

from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from support import scope_of
from turns_support import store_turn

from config.masking import MaskingSettings
from gateway.errors import NotFound
from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.masking import Masking
from gateway.openai.chat import Usage
from gateway.openai.references import Reference
from gateway.sessions.conversations import Conversations
from gateway.sessions.recall import recall
from gateway.sessions.store import Sessions, Turn, new_message_id

NOBODY = scope_of("acme", "app")
ANNA, BORA = replace(NOBODY, end_user="anna"), replace(NOBODY, end_user="bora")


def turn(question: str) -> Turn:
    return Turn(
        new_message_id(), "hr", question, "!", "extractive", [], Usage(1, 1, 2), complete=True
    )


async def said(sessions: Sessions, caller: object) -> list[str]:
    return [m.content for m in await sessions.messages(caller, "s", 100) if m.role == "user"]


async def test_one_id_is_another_conversation_for_every_end_user(pool: asyncpg.Pool) -> None:
    sessions = Sessions(pool)
    for caller, question in ((NOBODY, "general"), (ANNA, "anna's"), (BORA, "bora's")):
        await store_turn(pool, caller, "s", turn(question))
    for caller, question in ((NOBODY, "general"), (ANNA, "anna's"), (BORA, "bora's")):
        assert await said(sessions, caller) == [question]
        assert [session.id for session in await sessions.newest(caller, 10)] == ["s"]
    await sessions.delete(ANNA, "s")
    assert await sessions.newest(ANNA, 10) == []
    assert await said(sessions, BORA) == ["bora's"]
    assert await said(sessions, NOBODY) == ["general"]


@pytest.mark.parametrize(
    "other",
    [
        NOBODY,
        BORA,
        replace(ANNA, end_user="anna "),
        replace(ANNA, client="colleague"),
        replace(ANNA, tenant="rival", client="stranger"),
    ],
)
async def test_nobody_else_finds_it(pool: asyncpg.Pool, other: object) -> None:
    sessions = Sessions(pool)
    await store_turn(pool, ANNA, "s", turn("secret"))
    for attempt in (
        sessions.find(other, "s"),
        sessions.messages(other, "s", 100),
        sessions.delete(other, "s"),
    ):
        with pytest.raises(NotFound, match="no such session of yours"):
            await attempt
    assert (await recall(pool, other, "s", summarized=False)).messages == []
    assert await sessions.newest(other, 10) == []
    assert await said(sessions, ANNA) == ["secret"]


async def test_a_session_is_over_some_time_after_its_last_turn(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    query = "SELECT expires_at - now() FROM sessions"
    await store_turn(pool, NOBODY, "s", turn("?"))
    assert await owner.fetchval(query) is None
    kept = timedelta(days=2)
    await store_turn(pool, NOBODY, "s", turn("?"), Sessions(pool, kept))
    assert timedelta(days=1) < await owner.fetchval(query) < kept


async def test_what_is_stored_is_masked_by_policy(pool: asyncpg.Pool) -> None:
    masking = Masking(
        MaskingSettings.model_validate(
            {
                "storage": {"phone": "mask"},
                "agents": {"hr": {"storage": {"email": "mask"}}},
                "models": {"smart": {"storage": {"bank_account": "mask"}}},
            }
        )
    )
    sessions = Sessions(pool, masking=masking)
    text = "010-1234-5678 hong@example.com 110-123-456789"
    quote = Reference(1, text, None, text, 1.0, "d", "c", 0, 45)
    known = {"110-123-456789": Kind.BANK_ACCOUNT}
    asked = replace(turn(text), answer=text, references=[quote], known=known)
    turns = {
        "[PHONE] [EMAIL] 110-123-456789": asked,
        "[PHONE] hong@example.com 110-123-456789": replace(asked, agent="other"),
        "[PHONE] hong@example.com [ACCOUNT]": replace(asked, agent="other", asks="smart"),
    }
    for number, (masked, each) in enumerate(turns.items()):
        await store_turn(
            pool, NOBODY, f"s{number}", replace(each, message_id=f"m{number}"), sessions
        )
        question, answer = await sessions.messages(NOBODY, f"s{number}")
        assert question.content == answer.content == masked
        assert answer.references[0].content == answer.references[0].source == masked


async def test_no_time_is_told_that_is_still_to_come(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    conversations = Conversations(pool)
    made = (await conversations.create(scope_of("acme", "app"), {}, [])).id
    await owner.execute("UPDATE sessions SET created_at = to_timestamp(99.9)")
    assert (await conversations.find(scope_of("acme", "app"), made)).created_at == 99
