"""Judges the history of sessions that many clients wrote to: nothing lost, doubled or reordered."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct


@dataclass(frozen=True)
class Ack:
    """A turn that its client was told the end of, in the order in which it was told."""

    client: int
    session: str
    question: str
    answer: str
    message_id: str


class Message(Struct, frozen=True):
    """A message as `GET …/messages` tells it."""

    id: str
    role: str
    content: str
    status: str


def violations(
    acks: Sequence[Ack], history: Mapping[str, Sequence[Message]], asked: Iterable[str]
) -> list[str]:
    """What is wrong with the sessions: `history` is each one's messages, `asked` every question."""
    known, found = set(asked), []
    for session, messages in history.items():
        questions = [m.content for m in messages if m.role == "user"]
        found += [f"{session}: torn at {place}" for place in _torn(messages)]
        found += [f"{session}: doubled {q!r}" for q, n in Counter(questions).items() if n > 1]
        found += [f"{session}: nobody asked {q!r}" for q in questions if q not in known]
        found += [f"{session}: partial {m.id}" for m in messages if m.status != "complete"]
    for ack in acks:
        found += _missing(ack, history.get(ack.session, ()))
    found += _reordered(acks, history)
    return found


def _torn(messages: Sequence[Message]) -> list[int]:
    """The places where a question is not followed by its answer."""
    roles = [message.role for message in messages]
    expected = ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2)
    wrong = [n for n, (role, due) in enumerate(zip(roles, expected, strict=True)) if role != due]
    return wrong or ([len(roles) - 1] if len(roles) % 2 else [])


def _missing(ack: Ack, messages: Sequence[Message]) -> list[str]:
    for question, answer in itertools.pairwise(messages):
        if (question.role, question.content) == ("user", ack.question):
            if (answer.id, answer.content) == (ack.message_id, ack.answer):
                return []
            return [f"{ack.session}: {ack.question!r} was told another answer"]
    return [f"{ack.session}: lost {ack.question!r}"]


def _reordered(acks: Sequence[Ack], history: Mapping[str, Sequence[Message]]) -> list[str]:
    """What a client was told first stands first."""
    places = {
        (session, message.content): place
        for session, messages in history.items()
        for place, message in enumerate(messages)
        if message.role == "user"
    }
    last: dict[tuple[int, str], int] = {}
    found = []
    for ack in acks:
        place = places.get((ack.session, ack.question), -1)
        if 0 <= place < last.get((ack.client, ack.session), -1):
            found.append(f"{ack.session}: reordered {ack.question!r} of client {ack.client}")
        last[ack.client, ack.session] = place
    return found
