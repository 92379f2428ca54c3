"""A ladder for one caller behind the guardrails that apply to what is asked of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from config.scope import TenantScope
from gateway.generation.target import Completion, Prompt, Stream, Target
from gateway.govern.charge import Charge
from gateway.govern.guardrails.guardrails import Guardrails


class Guarded:
    """The ladder, asked only what the guardrails let through."""

    def __init__(self, ladder: Target, scope: TenantScope, guardrails: Guardrails) -> None:
        self.name = ladder.name
        self.accepts_unknown = ladder.accepts_unknown
        self._ladder = ladder
        self._scope = scope
        self._guardrails = guardrails

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the whole answer.

        Raises:
            InvalidRequest: A guardrail blocks the prompt; nobody was asked.
        """
        return await self._ladder.complete(await self._checked(prompt))

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the opened stream.

        Raises:
            InvalidRequest: A guardrail blocks the prompt; nobody was asked.
        """
        return await self._ladder.stream(await self._checked(prompt))

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
