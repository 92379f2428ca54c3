"""What of a question is searched for when it is rewritten."""

import pytest

from rag.keywords import keywords


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("연차 휴가는 며칠인가요?", "연차 휴가"),
        ("How many days of annual leave do I have?", "days annual leave"),
        ("???", "???"),
        ("", ""),
    ],
)
def test_what_carries_meaning_is_kept(question: str, words: str) -> None:
    assert keywords(question) == words
