"""A follow-up made a question of its own, by rule: `그럼 3년 차는요?` names what it is about."""

from collections.abc import Sequence


def rewrite(question: str, earlier: Sequence[str]) -> str:
    """Return what to search for; `earlier` are the user's questions before, oldest first."""
    return f"{question} ({earlier[-1]})" if earlier and len(question) < 20 else question
