"""The checker of histories finds each violation, and none where there is none."""

import pytest
from turn_history import Ack, Message, violations

MESSAGES = [
    Message("q1", "user", "one?", "complete"),
    Message("a1", "assistant", "one!", "complete"),
    Message("q2", "user", "two?", "complete"),
    Message("a2", "assistant", "two!", "complete"),
]
ACKS = [Ack(0, "s", "one?", "one!", "a1"), Ack(0, "s", "two?", "two!", "a2")]
ASKED = ["one?", "two?"]


def test_a_clean_history() -> None:
    assert violations(ACKS, {"s": MESSAGES}, ASKED) == []
    # What another client said in between, and what was never acknowledged, may stand there.
    assert violations(ACKS[1:], {"s": MESSAGES}, ASKED) == []
    assert violations([], {}, []) == []


@pytest.mark.parametrize(
    ("acks", "messages", "wrong"),
    [
        (ACKS, MESSAGES[:2], "lost 'two?'"),
        (ACKS, [], "lost 'one?'"),
        (ACKS, [*MESSAGES, *MESSAGES[2:]], "doubled 'two?'"),
        (ACKS, MESSAGES[2:] + MESSAGES[:2], "reordered 'two?' of client 0"),
        (ACKS, MESSAGES[:3], "torn at 2"),
        (ACKS, [MESSAGES[0], MESSAGES[2], MESSAGES[1], MESSAGES[3]], "torn at 1"),
        (ACKS, [MESSAGES[1], MESSAGES[0], *MESSAGES[2:]], "torn at 0"),
        (ACKS, [*MESSAGES[:3], Message("a2", "assistant", "tw", "complete")], "another answer"),
        (ACKS, [*MESSAGES[:3], Message("a3", "assistant", "two!", "complete")], "another answer"),
        (ACKS, [*MESSAGES[:3], Message("a2", "assistant", "two!", "partial")], "partial a2"),
        (
            ACKS,
            [*MESSAGES, Message("q", "user", "who?", "complete"), MESSAGES[3]],
            "nobody asked 'who?'",
        ),
    ],
)
def test_each_violation_is_found(acks: list[Ack], messages: list[Message], wrong: str) -> None:
    found = violations(acks, {"s": messages}, ASKED)
    assert any(wrong in each for each in found), found


def test_a_turn_in_another_session_is_lost() -> None:
    assert violations(ACKS, {"s": [], "t": MESSAGES}, ASKED) == ["s: lost 'one?'", "s: lost 'two?'"]
