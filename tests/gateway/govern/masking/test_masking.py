"""Requests on their way out: pseudonyms, refusals, failures, and who waits meanwhile."""

import asyncio
import logging
import re
from typing import Any

import msgspec
import pytest

from config.masking import MaskingSettings
from gateway.errors import Unavailable
from gateway.govern.masking import masking as module
from gateway.govern.masking.masking import Masking, PiiBlocked
from gateway.govern.masking.policy import Policy

PSEUDONYM = Policy.of({"default": "pseudonym"})
BLOCK = Policy.of({"card": "block", "default": "mask"})
SECRET = "900101-1234567"
FIELDS = {"messages": [{"role": "user", "content": f"내 번호는 {SECRET}"}], "temperature": 0.1}
CARD = {"messages": [{"role": "system", "content": "x"}, {"content": "4111 1111 1111 1111"}]}


@pytest.fixture
def masking() -> Masking:
    return Masking(MaskingSettings(), b"k" * 32)


def _stand_in(fields: Any) -> str:
    found = re.search(r"PII_[A-Z]+_[A-Z]{14}", msgspec.json.encode(fields).decode())
    assert found
    return found[0]


async def test_what_is_hidden_comes_back_in_the_answer(masking: Masking) -> None:
    hidden = await masking.hide(FIELDS, PSEUDONYM, session=None)
    assert SECRET not in str(hidden.fields)
    assert FIELDS["messages"][0]["content"] == f"내 번호는 {SECRET}"  # type: ignore[index]
    message = {"content": f"번호 {_stand_in(hidden.fields)} 확인"}
    body = msgspec.json.encode({"choices": [{"message": message}]})
    answer = msgspec.json.decode(await masking.change(hidden.answer(), body, whole=True))
    assert answer["choices"][0]["message"]["content"] == f"번호 {SECRET} 확인"


async def test_a_session_keeps_its_pseudonyms_and_another_has_others(masking: Masking) -> None:
    async def stand_in(session: str | None, at: Masking = masking) -> str:
        return _stand_in((await at.hide(FIELDS, PSEUDONYM, session=session)).fields)

    assert await stand_in("acme\0s1") == await stand_in("acme\0s1")
    others = [await stand_in("acme\0s2"), await stand_in("other\0s1"), await stand_in(None)]
    others += [await stand_in(None), await stand_in("acme\0s1", Masking(MaskingSettings()))]
    assert len({await stand_in("acme\0s1"), *others}) == 6


async def test_nothing_is_copied_where_everything_is_allowed(masking: Masking) -> None:
    assert (await masking.hide(FIELDS, Policy(), session=None)).fields is FIELDS


@pytest.mark.parametrize("filling", ["", "가" * 10_000])
async def test_a_refusal_names_kind_and_part_and_never_the_value(
    masking: Masking, filling: str
) -> None:
    fields = {**CARD, "user": filling}
    with pytest.raises(PiiBlocked) as refused:
        await masking.hide(fields, BLOCK, session=None)
    assert (refused.value.status, refused.value.code) == (400, "pii_blocked")
    assert refused.value.param == "messages[1].content"
    assert "card" in refused.value.message
    assert "4111" not in refused.value.message


@pytest.mark.parametrize("filling", ["", "가" * 10_000])
async def test_what_can_not_be_looked_at_is_not_sent(
    masking: Masking,
    filling: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(module, "changed", broken)
    with pytest.raises(Unavailable) as refused, caplog.at_level(logging.ERROR):
        await masking.hide({**FIELDS, "user": filling}, PSEUDONYM, session=None)
    assert (refused.value.status, refused.value.code) == (503, "masking_unavailable")
    assert "KeyError" in caplog.text
    assert SECRET not in caplog.text


async def test_what_is_nested_too_deep_is_not_sent(masking: Masking) -> None:
    deep: Any = SECRET
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        await masking.hide({"messages": deep}, PSEUDONYM, session=None)


async def test_a_long_request_is_looked_at_while_others_go_on(
    masking: Masking, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, others = asyncio.Event(), asyncio.Event()
    loop, original = asyncio.get_running_loop(), module.changed

    def waiting(*given: Any) -> Any:
        # Ends only if the event loop runs meanwhile.
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(others.wait(), loop).result(timeout=60)
        return original(*given)

    monkeypatch.setattr(module, "changed", waiting)
    fields = {"messages": [{"content": SECRET + " 가나다" * 2_000}]}
    hiding = asyncio.create_task(masking.hide(fields, PSEUDONYM, session=None))
    await asyncio.wait_for(begun.wait(), 60)
    others.set()
    assert SECRET not in str((await hiding).fields)


async def test_no_more_wait_than_may(masking: Masking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.govern.masking.threads._MOST_WAITING", 0)
    fields = {"messages": [{"content": "가" * 10_000}]}
    with pytest.raises(Unavailable) as refused:
        await masking.hide(fields, PSEUDONYM, session=None)
    assert refused.value.headers == {"retry-after": "1"}


async def test_texts_are_masked_short_or_long(masking: Masking) -> None:
    mask = Policy.of({"default": "mask"})
    assert await masking.mask(SECRET, mask) == "[RESIDENT]"
    long = "가" * 10_000
    assert await masking.mask(f"{long} {SECRET}", mask) == f"{long} [RESIDENT]"
    assert await masking.mask(SECRET, Policy()) == SECRET


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": msgspec.Raw(b'[{"content": "' + b"x" * 5_000 + b'"}]')},
        {"messages": [{"content": "x" * 5_000}]},
        {"messages": [{"content": "x"}] * 1_000},
        {"metadata": {"k": {str(i): "v" for i in range(1_000)}}},
    ],
)
def test_what_is_long_is_known_in_no_time(fields: dict[str, Any]) -> None:
    assert not module.is_small(fields)
    assert module.is_small(FIELDS)
