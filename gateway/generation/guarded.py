"""A ladder for one caller behind the guardrails that apply to what is asked of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from config.scope import TenantScope
from gateway.generation.judged import Bench, JudgedPayloads, judged
from gateway.generation.judging import Judging, Occasion
from gateway.generation.masked import ChangedPayloads
from gateway.generation.target import Completion, Prompt, Stream, Target
from gateway.govern.charge import Asked, Charge
from gateway.govern.guardrails.answer import CutAnswer
from gateway.govern.guardrails.deny import Deny
from gateway.govern.guardrails.guardrails import Found, Guardrails
from gateway.govern.guardrails.judge import NAME
from gateway.govern.guardrails.parts import LONGEST_PIECE, parts_of
from gateway.govern.guardrails.verdict import Action, Verdict
from gateway.govern.masking.masking import Masking


class Guarded:
    """The ladder, asked and heard only in what the guardrails let through."""

    def __init__(
        self,
        ladder: Target,
        scope: TenantScope,
        guardrails: Guardrails,
        masking: Masking,
        judging: Judging,
    ) -> None:
        self.name = ladder.name
        self.accepts_unknown = ladder.accepts_unknown
        self._ladder = ladder
        self._scope = scope
        self._guardrails = guardrails
        self._masking = masking
        self._judging = judging

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the whole answer.

        Raises:
            InvalidRequest: A guardrail blocks the prompt; nobody was asked.
        """
        if self._passes(prompt):
            return await self._ladder.complete(prompt)
        prompt = await self._checked(prompt)
        completion = await self._ladder.complete(prompt)
        if answer := self._answer(prompt):
            body = await self._masking.change(answer, completion.body, whole=True)
            completion = replace(completion, body=body)
        if bench := self._bench(prompt):
            completion = replace(completion, body=await judged(bench, completion))
        return completion

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the opened stream.

        Raises:
            InvalidRequest: A guardrail blocks the prompt; nobody was asked.
        """
        if self._passes(prompt):
            return await self._ladder.stream(prompt)
        prompt = await self._checked(prompt)
        stream = await self._ladder.stream(prompt)
        if answer := self._answer(prompt):
            changed = ChangedPayloads(stream.payloads, answer, self._masking)
            stream = replace(stream, payloads=changed)
        if bench := self._bench(prompt):
            stream = replace(stream, payloads=JudgedPayloads(stream.payloads, bench))
        return stream

    def _passes(self, prompt: Prompt) -> bool:
        """Tell whether no guardrail has anything to look at, as is so for nearly everybody."""
        tenant = self._scope.tenant
        return not prompt.verdicts and self._guardrails.none(tenant, self._names(prompt))

    def _answer(self, prompt: Prompt) -> CutAnswer | None:
        """Return what cuts the answer, where anything does."""
        denied = self._guardrails.denied(self._scope.tenant, self._names(prompt))
        if not denied or prompt.kind == "embeddings":
            return None
        said = str(Verdict(1.0, Action.BLOCK))
        return CutAnswer(denied, lambda: _note(prompt.charge, {Deny.name: said}))

    def _bench(self, prompt: Prompt) -> Bench | None:
        """Return who judges the answer, where anybody does."""
        aside = prompt.agent and prompt.retrieval is None
        if prompt.charge is None or aside or prompt.kind == "embeddings":
            return None
        occasion = Occasion(prompt.charge, self._names(prompt), prompt.local_only)
        judges = self._judging.judges(occasion, "answers")
        if not judges:
            return None
        asks = any(judge.settings.api == "llama-guard" for judge in judges)
        return Bench(self._judging, judges, occasion, _question(prompt) if asks else "")

    def _names(self, prompt: Prompt) -> Sequence[str]:
        return (prompt.agent, self.name) if prompt.agent else (self.name,)

    async def _checked(self, prompt: Prompt) -> Prompt:
        if prompt.verdicts is not None:
            _note(prompt.charge, prompt.verdicts)
            return prompt
        charge = prompt.charge or Charge(self._scope, Asked(prompt.kind, self.name))
        occasion = Occasion(charge, (self.name,), prompt.local_only)
        instructions = prompt.retrieval is None
        found = await self._judging.look(occasion, prompt.fields, instructions=instructions)
        found.check()
        stays = found.stays or (not prompt.agent and await self._passages_stay(occasion, prompt))
        return replace(prompt, local_only=True) if stays else prompt

    async def _passages_stay(self, occasion: Occasion, prompt: Prompt) -> bool:
        """Tell whether what a tool found must stay here.

        Raises:
            InvalidRequest: It holds a passage that is blocked.
        """
        if not (prompt.retrieval and self._judging.judges(occasion, "passages")):
            return False
        screened, stays = await self._judging.screened(occasion, prompt.retrieval)
        if len(screened.passages) < len(prompt.retrieval.passages):
            Found({NAME: Verdict(1.0, Action.BLOCK, "tools")}).check()
        return stays


def _question(prompt: Prompt) -> str:
    """Return what the user said last."""
    for message in reversed(prompt.fields.get("messages", ())):
        if message.get("role") == "user":
            parts = parts_of({"messages": [message]})
            return "\n".join(part.text for part in parts)[:LONGEST_PIECE]
    return ""


def _note(charge: Charge | None, verdicts: Mapping[str, str]) -> None:
    if charge:
        charge.verdicts.update(verdicts)


async def check_words(
    judging: Judging, charge: Charge, words: Mapping[str, Any], *models: str
) -> Found:
    """Judge what is asked of a model of this service's own; note it on the account.

    Raises:
        InvalidRequest: A guardrail blocks it.
    """
    found = await judging.look(Occasion(charge, models), words)
    found.check()
    return found
