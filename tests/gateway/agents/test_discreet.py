"""Agents' answers as callers may read them."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from support import scope_of

from config.masking import MaskingSettings
from gateway.agents.discreet import DiscreetAgent, Parts
from gateway.agents.draft import AgentAnswer
from gateway.errors import UpstreamInterrupted
from gateway.generation.target import Served
from gateway.govern.masking.masking import Masking
from gateway.openai.chat import Usage
from gateway.openai.references import Reference
from rag import Passage, Retrieval

TEXT, MASKED = "전화 010-1234-5678 [1]", "전화 [PHONE] [1]"


def _answer() -> AgentAnswer:
    quote = Reference(1, "a.txt", None, "담당 010-1234-5678", 1.0, "d", "c", 0, 16)
    usage, served = Usage(1, 1, 2), Served(target="x")
    return AgentAnswer("m", TEXT, [quote], "x", usage, "stop", True, served, 1, "1")


def _discreet(**settings: Any) -> DiscreetAgent:
    masking = Masking(MaskingSettings.model_validate(settings))
    return DiscreetAgent(masking, scope_of(), "hr", "smart")


@pytest.mark.parametrize(
    "settings",
    [
        {"answer": "mask"},
        {"agents": {"hr": {"answer": "mask"}}},
        {"models": {"smart": {"answer": "mask"}}},
        {"tenants": {"acme": {"answer": "mask"}}},
    ],
)
async def test_text_and_quotes_are_masked(settings: dict[str, Any]) -> None:
    answer = await _discreet(**settings).answer(_answer())
    assert answer.text == MASKED
    assert answer.references[0].content == "담당 [PHONE]"


async def test_what_is_personal_in_a_passage_is_hidden_where_its_head_is_not_quoted() -> None:
    table = "| 이름 | 계좌번호 |\n|---|---|\n| 홍길동 | 110-123-456789 |\n"
    passage = Passage("c", "d", "s", "010-1234-5678.md", None, 0, 60, table, "", 1.0, 1.0, None)
    masking = Masking(MaskingSettings.model_validate({"answer": "mask"}))
    discreet = DiscreetAgent(masking, scope_of(), "hr", "smart", [passage])
    said = "홍길동의 번호는 110-123-456789입니다 [1], 송장은 378519130561."
    quote = Reference(1, passage.source, None, "| 홍길동 | 110-123-456789 |", 1.0, "d", "c", 0, 16)
    told = await discreet.answer(replace(_answer(), text=said, references=[quote]))
    assert told.text == "홍길동의 번호는 [ACCOUNT]입니다 [1], 송장은 378519130561."
    assert told.references[0].content == "| 홍길동 | [ACCOUNT] |"
    assert told.references[0].source == "[PHONE].md"
    parts = discreet.parts(_characters(said))
    assert "".join([part async for part in parts if isinstance(part, str)]) == told.text
    found = await discreet.retrieval(Retrieval("?", (passage,), {}, 0.0))
    assert [each.source for each in found.passages] == ["[PHONE].md"]


async def _characters(text: str) -> Parts:
    for character in text:
        yield character
    yield _answer()


async def test_without_a_policy_an_answer_is_what_it_is() -> None:
    given, parts = _answer(), _parts()
    assert await _discreet().answer(given) is given
    assert _discreet().parts(parts) is parts
    await parts.aclose()


async def _parts(*, closed: asyncio.Event | None = None, fails: bool = False) -> Parts:
    try:
        for character in TEXT:
            yield character
        if fails:
            raise UpstreamInterrupted("gone", code="upstream_interrupted")
        yield _answer()
    finally:
        if closed:
            closed.set()


async def test_a_turn_under_way_says_what_the_finished_one_does() -> None:
    heard = [part async for part in _discreet(answer="mask").parts(_parts())]
    assert "".join(part for part in heard if isinstance(part, str)) == MASKED
    assert isinstance(heard[-1], AgentAnswer)
    assert heard[-1].text == MASKED


async def test_what_was_held_back_comes_before_a_failure() -> None:
    parts: AsyncGenerator[Any, None] = _discreet(answer="mask").parts(_parts(fails=True))
    said = ""
    while said != MASKED:
        said += await anext(parts)
    with pytest.raises(UpstreamInterrupted):
        await anext(parts)


async def test_who_leaves_ends_the_turn() -> None:
    closed = asyncio.Event()
    parts = _discreet(answer="mask").parts(_parts(closed=closed))
    await anext(parts)
    await parts.aclose()
    assert closed.is_set()
