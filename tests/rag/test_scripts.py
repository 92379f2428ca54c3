"""Which texts a model can read."""

import pytest

from rag.scripts import reads
from rag.testing import InMemoryEmbedder


@pytest.mark.parametrize(
    ("languages", "text", "known"),
    [
        (["en"], "How many days?", True),
        (["en"], "며칠인가요?", False),
        (["en"], "Docker 설정은 어떻게 하나요", False),
        (["en"], "What does 연차 mean in the handbook?", True),
        (["en"], "2026-11-20", True),
        (["en"], "", True),
        (["en", "ko"], "Docker 설정은 어떻게 하나요", True),
        (["ko"], "Docker settings", True),
        (["ko"], "設定の方法", False),
        (["ja"], "設定の方法", True),
        (["en"], "Как настроить", False),
    ],
)
def test_which_texts_a_model_knows(languages: list[str], text: str, known: bool) -> None:
    assert reads(languages, text) is known
    assert InMemoryEmbedder(languages=languages).knows(text) is known
