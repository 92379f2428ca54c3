"""Embeddings: what comes in and what goes out. OpenAI API reference, `/v1/embeddings`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.openai.chat_request import Word
from gateway.openai.completions import Texts, count_texts

_MAX_INPUTS = 2048


class EmbeddingRequest(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An embedding request: one input or up to 2,048, as text or as the model's own tokens."""

    model: str
    input: Texts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    user: Word | None = None

    def __post_init__(self) -> None:
        if count_texts(self.input, "input") > _MAX_INPUTS:
            raise ValueError(f"input: at most {_MAX_INPUTS:,} in one request")
        if self.input == "" or (isinstance(self.input, list) and "" in self.input):
            raise ValueError("input: a text is empty; leave it out")


class EmbeddingUsage(msgspec.Struct):
    """Token counts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingObject(msgspec.Struct):
    """One input's vector: numbers, or with `encoding_format: base64` float32, little-endian."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingList(msgspec.Struct):
    """The vectors of all inputs, in their order."""

    data: list[EmbeddingObject]
    model: str
    usage: EmbeddingUsage
    object: Literal["list"] = "list"
