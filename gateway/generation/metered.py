"""A rung whose every attempt stands on the request's account."""

from typing import Literal

from gateway.generation.ladder import Rung
from gateway.generation.target import Completion, Prompt, Stream


class Metered:
    """What a ladder is made of: the rung itself, and what asking it costs."""

    def __init__(self, rung: Rung) -> None:
        self._rung = rung
        self.name = rung.name
        self.accepts_unknown = rung.accepts_unknown

    @property
    def place(self) -> Literal["here", "engine", "hosted"]:
        """Return where the rung is."""
        return self._rung.place

    @property
    def context(self) -> int | None:
        """Return how many tokens prompt and answer may have together, where that is known."""
        return self._rung.context

    def first_token_s(self, prompt: Prompt) -> float:
        """Return in how many seconds the first token is to be expected."""
        return self._rung.first_token_s(prompt)

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the whole answer, and what it took on the account."""
        attempt = prompt.charge and prompt.charge.attempt(self.name, self.place)
        completion = await self._rung.complete(prompt)
        if attempt:
            attempt.usage = completion.usage
        return completion

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the opened stream; what it takes grows on the account."""
        attempt = prompt.charge and prompt.charge.attempt(self.name, self.place)
        stream = await self._rung.stream(prompt)
        if attempt:
            attempt.usage = stream.usage
        return stream
