"""What an answer may cost at most, and how its target is kept to what is paid for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from config.budgets import BudgetSettings
from gateway.generation.target import Prompt
from gateway.govern.prices import Rate

GRACE = 8
"""How many tokens more than its limit an answer may seem to have: a chunk need not be a token."""

_LIMITS = ("max_completion_tokens", "max_tokens")
_COUNTS = ("n", "best_of")
_DEFAULT_OF_COMPLETIONS = 16  # OpenAI's, and vLLM's
_WITHOUT_TEXT = ("embeddings", "moderations")
_TEMPLATE_TOKENS = 64
_TOOLS_TOKENS = 512
_LEAST_NS = 10**9
_encode = msgspec.json.Encoder().encode


class Allowance(msgspec.Struct, frozen=True):
    """What is reserved for an answer.

    Attributes:
        prompt_tokens: How many tokens it is asked with, at most.
        choices: How many answers at a time.
        answer_tokens: How long each may be: as the caller says, as the target does, or as assumed.
        bounded: Whether the target keeps to that by itself.
        timeout_ns: How long the target may take.
        most: Nano-dollars that pay for all of it.
    """

    rate: Rate
    prompt_tokens: int
    choices: int
    answer_tokens: int
    bounded: bool
    timeout_ns: int
    most: int

    @property
    def least(self) -> int:
        """Return the nano-dollars that pay for one token at least; 0 where everything is free."""
        tokens = (GRACE + 1) * self.choices if self.answer_tokens else 0
        return self.rate.at_most(self.prompt_tokens, tokens, min(_LEAST_NS, self.timeout_ns))

    def tokens_for(self, amount: int) -> int | None:
        """Return how long each answer may be for that much; None where it need not be said."""
        if self.bounded and amount >= self.most:
            return None
        payable = self.rate.tokens_for(amount, self.prompt_tokens)
        if payable is None:
            return None
        return max(min(payable // self.choices - GRACE, self.answer_tokens), 0)


@dataclass(frozen=True, slots=True)
class Terms:
    """What asking a target costs, and what is assumed where nobody says.

    Attributes:
        rate: None where no price is known.
        limit: The field that says how long an answer may be.
        timeout_ns: How long the target may take, all in all.
    """

    rate: Rate | None
    assumed: BudgetSettings = field(default_factory=BudgetSettings)
    limit: str = "max_tokens"
    timeout_ns: int = 0

    def allowance(self, rate: Rate, prompt: Prompt, context: int | None) -> Allowance:
        """Return what the target's answer may take; `context` is how many tokens it holds."""
        given = _given(prompt)
        asked = _limit_of(prompt, given)
        longest = rate.longest or context
        answer = asked if asked is not None else longest or self.assumed.answer_tokens
        asking = tokens_at_most(prompt, rate.image or self.assumed.image_tokens)
        choices = _choices(prompt)
        tokens = (GRACE + answer) * choices if answer else 0
        return Allowance(
            rate=rate,
            prompt_tokens=asking,
            choices=choices,
            answer_tokens=answer,
            bounded=bool(given) or (asked is None and longest is not None) or not answer,
            timeout_ns=self.timeout_ns,
            most=rate.at_most(asking, tokens, self.timeout_ns),
        )


def with_limit(prompt: Prompt, limit: str, tokens: int) -> Prompt:
    """Return the prompt that asks for answers of no more tokens; `limit` where it named none."""
    if prompt.kind in _WITHOUT_TEXT:
        return prompt
    given = _given(prompt) or {"max_tokens" if prompt.kind == "completions" else limit: tokens}
    lowered = {name: min(value, tokens) for name, value in given.items()}
    return replace(prompt, fields={**prompt.fields, **lowered})


def with_one_limit(prompt: Prompt) -> Prompt:
    """Return the prompt with the smaller of its two limits as both, where it names two.

    Which of them a target keeps to is its own affair; what is reserved must be right either way.
    """
    fields = prompt.fields
    if not (_LIMITS[0] in fields and _LIMITS[1] in fields):
        return prompt
    given = _given(prompt)
    least = min(given.values(), default=0)
    return replace(prompt, fields={**fields, **dict.fromkeys(given, least)})


def tokens_at_most(prompt: Prompt, image_tokens: int) -> int:
    """Return how many tokens a prompt has at most.

    No tokenizer makes more tokens than there are bytes. Of pictures their size in pixels counts,
    not that of their files: each is taken for `image_tokens`.
    """
    fields = prompt.fields
    text = _encode(fields)
    size = len(text) + _TEMPLATE_TOKENS
    if fields.get("tools") or fields.get("functions"):
        size += _TOOLS_TOKENS
    if prompt.kind != "chat" or b'"image_url"' not in text:
        return size
    images = list(_images(_plain(fields["messages"])))
    return size - sum(len(image) for image in images) + image_tokens * len(images)


def _images(messages: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield each picture's URL or data, of messages that may hold anything."""
    for message in messages if isinstance(messages, list) else ():
        parts = message.get("content") if isinstance(message, dict) else None
        for part in parts if isinstance(parts, list) else ():
            image = part.get("image_url") if isinstance(part, dict) else None
            if isinstance(image, dict):
                image = image.get("url")
            if isinstance(image, str):
                yield image


def _limit_of(prompt: Prompt, given: Mapping[str, int]) -> int | None:
    """Return how long an answer may be as it was asked for."""
    if prompt.kind in _WITHOUT_TEXT:
        return 0
    if given:
        return min(given.values())
    return _DEFAULT_OF_COMPLETIONS if prompt.kind == "completions" else None


def _given(prompt: Prompt) -> Mapping[str, int]:
    """Return the limits that the caller named."""
    fields = prompt.fields
    given: dict[str, int] = {}
    if fields.keys().isdisjoint(_LIMITS):
        return given
    for name in _LIMITS:
        if name in fields:
            value = _plain(fields[name])
            if isinstance(value, int) and value >= 0:
                given[name] = value
    return given


def _choices(prompt: Prompt) -> int:
    """Return how many answers are asked for: `n` for each of a completion's prompts."""
    fields, each = prompt.fields, 1
    if not fields.keys().isdisjoint(_COUNTS):
        counts = [_plain(fields.get(name)) for name in _COUNTS]
        each = max([each, *(count for count in counts if isinstance(count, int))])
    if prompt.kind != "completions":
        return each
    prompts = _plain(fields.get("prompt"))
    several = isinstance(prompts, list) and prompts and not isinstance(prompts[0], int)
    return each * len(prompts) if several else each


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
