"""What a caller may read of an agent's answer: hidden after its citations were checked."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace

import msgspec

from config.scope import TenantScope
from gateway.agents.draft import AgentAnswer
from gateway.errors import GatewayError
from gateway.govern.masking.hide import Hider, HidingText
from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.masking import Masking
from gateway.govern.masking.policy import Boundary, Policy
from gateway.openai.references import hiding
from rag import Passage, Retrieval

Parts = AsyncGenerator[str | AgentAnswer, None]


class DiscreetAgent:
    """One agent's answers to one caller.

    Those that are `kept` to be told again say no more than may be stored, the first time too. What
    is personal in the `passages` is hidden where it is quoted without what says so there: the head
    of its column, a word before it.
    """

    def __init__(
        self,
        masking: Masking,
        scope: TenantScope,
        agent: str,
        model: str,
        passages: Sequence[Passage] = (),
        *,
        kept: bool = False,
    ) -> None:
        self._masking = masking
        self._passages = passages
        self._known: Mapping[str, Kind] | None = None
        boundaries: list[Boundary] = ["answer", "storage"] if kept else ["answer"]
        self._policy = Policy.strictest(
            masking.policies.at(boundary, tenant=scope.tenant, model=model, agent=agent)
            for boundary in boundaries
        )

    async def known(self) -> Mapping[str, Kind]:
        """Return what is personal in the passages; nothing where nothing is hidden."""
        if self._known is None:
            texts = [f"{each.heading}\n{each.content}" for each in self._passages]
            self._known = {} if self._policy.allows_all else await self._masking.found(texts)
        return self._known

    async def answer(self, answer: AgentAnswer) -> AgentAnswer:
        """Return a finished turn, its quotes and their files' names hidden too."""
        if self._policy.allows_all:
            return answer
        references = await hiding(answer.references, self._hidden)
        return replace(answer, text=await self._hidden(answer.text), references=references)

    async def retrieval(self, retrieval: Retrieval) -> Retrieval:
        """Return what was found, the files' names hidden."""
        if self._policy.allows_all:
            return retrieval
        passages = [
            msgspec.structs.replace(each, source=await self._hidden(each.source))
            for each in retrieval.passages
        ]
        return replace(retrieval, passages=tuple(passages))

    def parts(self, parts: Parts) -> Parts:
        """Return a turn under way; what more text could still change is held back."""
        return parts if self._policy.allows_all else self._hiding(parts)

    async def _hiding(self, parts: Parts) -> Parts:
        text = HidingText(Hider(self._policy, known=await self.known()))
        try:
            async for part in parts:
                said = text.push(part) if isinstance(part, str) else text.finish()
                if said:
                    yield said
                if not isinstance(part, str):
                    yield await self.answer(part)
        except GatewayError:
            if rest := text.finish():
                yield rest
            raise
        finally:
            await parts.aclose()

    async def _hidden(self, text: str) -> str:
        return await self._masking.mask(text, self._policy, await self.known())
