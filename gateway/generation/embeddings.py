"""Embeddings: of the model that the service itself searches with, or of a provider or engine."""

import asyncio
import base64
import math
import sys
from array import array
from collections.abc import Mapping, Sequence

import msgspec

from config.scope import TenantScope
from config.settings import EmbeddingSettings
from config.targets import LadderSettings
from gateway.errors import InvalidRequest
from gateway.generation import extractive
from gateway.generation.target import Completion
from gateway.govern.prices import FREE
from gateway.openai.embeddings import EmbeddingObject, EmbeddingRequest
from gateway.openai.usage import TokenUsage
from rag import Counted, Embedder, TextRefused

_AT_ONCE = 64
_encode = msgspec.json.Encoder().encode


class Embeddings:
    """The model beside the service, under the last part of its name where that is a folder.

    Attributes:
        rate: What it costs: nothing, or, behind a URL, nobody knows.
    """

    def __init__(
        self,
        settings: EmbeddingSettings,
        embedder: Embedder,
        aliases: Mapping[str, LadderSettings],
    ) -> None:
        self.name = settings.name
        self.rate = FREE if settings.url is None else None
        self._truncatable = settings.truncatable
        self._embedder = embedder
        self._ladders = frozenset(name for name, each in aliases.items() if _models(each) > 1)

    def names(self, scope: TenantScope) -> list[str]:
        """Return the model's name, if the caller may use it."""
        return [self.name] if scope.may_use_model(self.name) else []

    def serves(self, scope: TenantScope, name: str) -> bool:
        """Tell whether `name` is the service's own model and this caller may use it."""
        return name in self.names(scope)

    def check_alias(self, name: str) -> None:
        """Refuse an alias of several models: the next one's vectors would mean something else.

        Raises:
            InvalidRequest: It is such an alias.
        """
        if name in self._ladders:
            raise InvalidRequest(
                f"model: `{name}` stands for several models, whose vectors can't be compared: "
                "name one of them, as `provider/model`",
                param="model",
            )

    async def embed(self, asked: EmbeddingRequest) -> Completion:
        """Return an `EmbeddingList` of the service's own model, as JSON.

        Raises:
            InvalidRequest: The input is tokens, too long, or the dimensions are impossible.
            rag.EmbedderUnavailable: The model gave no answer.
        """
        texts = _texts(asked.input)
        items: list[bytes] = []
        tokens = 0
        for start in range(0, len(texts), _AT_ONCE):
            counted = await self._embed_some(asked, texts, start)
            tokens += counted.tokens
            for vector in counted.vectors:
                fitted = self._fit(vector, asked.dimensions)
                items.append(_encode(_object(len(items), fitted, asked.encoding_format)))
            # Numbers are slow to write: others come first between two lots.
            await asyncio.sleep(0)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        head = _encode({"object": "list", "model": self.name, "usage": usage})
        body = head[:-1] + b',"data":[' + b",".join(items) + b"]}"
        return Completion(body, self.name, usage=TokenUsage(prompt_tokens=tokens, complete=True))

    async def _embed_some(
        self, asked: EmbeddingRequest, texts: Sequence[str], start: int
    ) -> Counted:
        try:
            return await self._embedder.embed_whole(texts[start : start + _AT_ONCE])
        except TextRefused as error:
            known = error.index is not None and not isinstance(asked.input, str)
            param = f"input[{start + (error.index or 0)}]" if known else "input"
            raise InvalidRequest(f"{param}: {error}", param=param, code=error.code) from None

    def _fit(self, vector: Sequence[float], dimensions: int | None) -> Sequence[float]:
        if dimensions is None or dimensions == len(vector):
            return vector
        if not self._truncatable or dimensions > len(vector):
            raise InvalidRequest(
                f"dimensions: `{self.name}` has {len(vector)}, and no "
                f"{'more' if self._truncatable else 'others'}",
                param="dimensions",
            )
        length = math.hypot(*vector[:dimensions]) or 1.0
        return array("f", [value / length for value in vector[:dimensions]])


def _models(ladder: LadderSettings) -> int:
    return sum(rung.target != extractive.NAME for rung in ladder.targets)


def _texts(given: str | Sequence[object]) -> list[str]:
    texts = [given] if isinstance(given, str) else [text for text in given if isinstance(text, str)]
    if not texts:
        raise InvalidRequest("input: this model takes text; decode the tokens first", param="input")
    return texts


def _object(index: int, vector: Sequence[float], encoding: str | None) -> EmbeddingObject:
    if encoding != "base64":
        return EmbeddingObject(index, list(vector))
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return EmbeddingObject(index, base64.b64encode(numbers.tobytes()).decode())
