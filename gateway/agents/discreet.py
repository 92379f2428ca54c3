"""What a caller may read of an agent's answer: hidden after its citations were checked."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import msgspec

from config.scope import TenantScope
from gateway.agents.draft import AgentAnswer
from gateway.errors import GatewayError
from gateway.govern.masking.hide import Hider, HidingText
from gateway.govern.masking.masking import Masking
from gateway.govern.masking.policy import Boundary, Policy

Parts = AsyncGenerator[str | AgentAnswer, None]


class DiscreetAgent:
    """One agent's answers to one caller.

    Those that are `kept` to be told again say no more than may be stored, the first time too.
    """

    def __init__(
        self, masking: Masking, scope: TenantScope, agent: str, model: str, *, kept: bool = False
    ) -> None:
        self._masking = masking
        boundaries: list[Boundary] = ["answer", "storage"] if kept else ["answer"]
        self._policy = Policy.strictest(
            masking.policies.at(boundary, tenant=scope.tenant, model=model, agent=agent)
            for boundary in boundaries
        )

    async def answer(self, answer: AgentAnswer) -> AgentAnswer:
        """Return a finished turn, its quotes hidden too."""
        if self._policy.allows_all:
            return answer
        quotes = [await self._hidden(each.content) for each in answer.references]
        references = [
            msgspec.structs.replace(each, content=quote)
            for each, quote in zip(answer.references, quotes, strict=True)
        ]
        return replace(answer, text=await self._hidden(answer.text), references=references)

    def parts(self, parts: Parts) -> Parts:
        """Return a turn under way; what more text could still change is held back."""
        return parts if self._policy.allows_all else self._hiding(parts)

    async def _hiding(self, parts: Parts) -> Parts:
        text = HidingText(Hider(self._policy))
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
        return await self._masking.mask(text, self._policy)
