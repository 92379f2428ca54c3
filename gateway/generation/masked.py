"""A hosted rung that reads no more personal data than the policy lets out."""

from typing import Literal, Self

from msgspec.structs import replace

from gateway.errors import GatewayError
from gateway.generation.ladder import Rung
from gateway.generation.target import Comment, Completion, Payloads, Prompt, Stream
from gateway.govern.masking.answer import AnswerChange
from gateway.govern.masking.masking import Hidden, Masking
from gateway.govern.masking.policy import Policy
from gateway.observe.phases import Phase


class Masked:
    """A rung at somebody else's: hides before it asks, puts back what it answers."""

    def __init__(self, rung: Rung, masking: Masking) -> None:
        self._rung = rung
        self._masking = masking
        self.name = rung.name
        self.accepts_unknown = rung.accepts_unknown
        self.place: Literal["here", "engine", "hosted"] = rung.place

    @property
    def context(self) -> int | None:
        """Return how many tokens prompt and answer may have together, where that is known."""
        return self._rung.context

    @property
    def usable(self) -> bool:
        """Return whether it can be asked at the moment, as far as is known."""
        return self._rung.usable

    def first_token_s(self, prompt: Prompt) -> float:
        """Return in how many seconds the first token is to be expected."""
        return self._rung.first_token_s(prompt)

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the whole answer.

        Raises:
            PiiBlocked: The prompt must not go there; nothing was sent.
        """
        policy = self._policy(prompt)
        if policy.allows_all:
            return await self._rung.complete(prompt)
        hidden = await self._hidden(prompt, policy)
        completion = await self._rung.complete(replace(prompt, fields=hidden.fields))
        if not hidden.originals:
            return completion
        body = await self._masking.change(hidden.answer(), completion.body, whole=True)
        return replace(completion, body=body)

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the opened stream; what may be the beginning of a pseudonym comes with its end.

        Raises:
            PiiBlocked: The prompt must not go there; nothing was sent.
        """
        policy = self._policy(prompt)
        if policy.allows_all:
            return await self._rung.stream(prompt)
        hidden = await self._hidden(prompt, policy)
        stream = await self._rung.stream(replace(prompt, fields=hidden.fields))
        if not hidden.originals:
            return stream
        payloads = ChangedPayloads(stream.payloads, hidden.answer(), self._masking)
        return replace(stream, payloads=payloads)

    def _policy(self, prompt: Prompt) -> Policy:
        return prompt.egress or self._masking.policies.at("egress", tenant=prompt.tenant)

    async def _hidden(self, prompt: Prompt, policy: Policy) -> Hidden:
        if prompt.kind == "embeddings":
            policy = policy.without_pseudonyms()
        session = None if prompt.affinity is None else f"{prompt.tenant}\0{prompt.affinity}"
        with Phase("masking"):
            return await self._masking.hide(prompt.fields, policy, session=session)


class ChangedPayloads:
    """A stream's payloads with their texts changed."""

    def __init__(self, payloads: Payloads, answer: AnswerChange, masking: Masking) -> None:
        self._payloads = payloads
        self._answer = answer
        self._masking = masking
        self._failure: GatewayError | None = None

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next payload; what was held back comes before an end or a failure."""
        if self._failure:
            raise self._failure
        try:
            payload = await anext(self._payloads)
        except StopAsyncIteration:
            return self._rest()
        except GatewayError as error:
            self._failure = error
            return self._rest(error)
        if isinstance(payload, Comment):
            return payload
        return await self._masking.change(self._answer, payload, whole=False)

    async def aclose(self) -> None:
        """End it, and the upstream's work with it."""
        await self._payloads.aclose()

    def _rest(self, error: GatewayError | None = None) -> bytes:
        if rest := self._answer.rest():
            return rest
        raise error or StopAsyncIteration
