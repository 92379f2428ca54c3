"""A ladder for one caller behind the guardrails that apply to what is asked of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from config.scope import TenantScope
from gateway.generation.masked import ChangedPayloads
from gateway.generation.target import Completion, Prompt, Stream, Target
from gateway.govern.charge import Charge
from gateway.govern.guardrails.answer import CutAnswer
from gateway.govern.guardrails.deny import Deny
from gateway.govern.guardrails.guardrails import Guardrails
from gateway.govern.guardrails.verdict import Action, Verdict
from gateway.govern.masking.masking import Masking


class Guarded:
    """The ladder, asked and heard only in what the guardrails let through."""

    def __init__(
        self, ladder: Target, scope: TenantScope, guardrails: Guardrails, masking: Masking
    ) -> None:
        self.name = ladder.name
        self.accepts_unknown = ladder.accepts_unknown
        self._ladder = ladder
        self._scope = scope
        self._guardrails = guardrails
        self._masking = masking

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the whole answer.

        Raises:
            InvalidRequest: A guardrail blocks the prompt; nobody was asked.
        """
        completion = await self._ladder.complete(await self._checked(prompt))
        answer = self._answer(prompt)
        if answer is None:
            return completion
        body = await self._masking.change(answer, completion.body, whole=True)
        return replace(completion, body=body)

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the opened stream.

        Raises:
            InvalidRequest: A guardrail blocks the prompt; nobody was asked.
        """
        stream = await self._ladder.stream(await self._checked(prompt))
        answer = self._answer(prompt)
        if answer is None:
            return stream
        payloads = ChangedPayloads(stream.payloads, answer, self._masking)
        return replace(stream, payloads=payloads)

    def _answer(self, prompt: Prompt) -> CutAnswer | None:
        """Return what cuts the answer, where anything does."""
        models = (prompt.agent, self.name) if prompt.agent else (self.name,)
        denied = self._guardrails.denied(self._scope.tenant, models)
        if not denied or prompt.kind == "embeddings":
            return None
        said = str(Verdict(1.0, Action.BLOCK))
        return CutAnswer(denied, lambda: _note(prompt.charge, {Deny.name: said}))

    async def _checked(self, prompt: Prompt) -> Prompt:
        if prompt.verdicts is not None:
            _note(prompt.charge, prompt.verdicts)
            return prompt
        found = await self._guardrails.look(
            prompt.fields,
            tenant=self._scope.tenant,
            models=(self.name,),
            instructions=prompt.retrieval is None,
        )
        _note(prompt.charge, found.said)
        found.check()
        return replace(prompt, local_only=True) if found.stays else prompt


def _note(charge: Charge | None, verdicts: Mapping[str, str]) -> None:
    if charge:
        charge.verdicts.update(verdicts)


async def check_words(
    guardrails: Guardrails, charge: Charge, words: Mapping[str, Any], model: str
) -> None:
    """Judge what is asked of a model of this service's own; note it on the account.

    Raises:
        InvalidRequest: A guardrail blocks it.
    """
    found = await guardrails.look(words, tenant=charge.scope.tenant, models=(model,))
    _note(charge, found.said)
    found.check()
