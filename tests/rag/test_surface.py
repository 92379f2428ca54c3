"""What others may import from the package."""

import sys
from subprocess import run

import rag


def test_every_public_name_is_there_and_documented() -> None:
    assert sorted(rag.__all__) == rag.__all__
    for name in rag.__all__:
        assert getattr(rag, name).__doc__, name


def test_the_model_stays_in_its_worker() -> None:
    code = "import rag, sys; print({'torch', 'numpy', 'sentence_transformers'} & set(sys.modules))"
    result = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
