"""A ladder for one caller: what hosted rungs may read, and what the caller may be answered."""

from msgspec.structs import replace

from config.scope import TenantScope
from gateway.generation.masked import ChangedPayloads
from gateway.generation.target import Completion, Prompt, Stream, Target
from gateway.govern.masking.masking import Masking, hiding_answer
from gateway.govern.masking.policy import NOTHING_HIDDEN, Policy


class Discreet:
    """The ladder with the policies that apply to the caller, the model and the agent.

    What answers an agent's turn is not hidden here: its citations are checked first.
    """

    def __init__(self, ladder: Target, scope: TenantScope, masking: Masking) -> None:
        self.name = ladder.name
        self.accepts_unknown = ladder.accepts_unknown
        self._ladder = ladder
        self._scope = scope
        self._masking = masking

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the whole answer."""
        completion = await self._ladder.complete(self._governed(prompt))
        policy = self._answered(prompt)
        if policy.allows_all:
            return completion
        body = await self._masking.change(hiding_answer(policy), completion.body, whole=True)
        return replace(completion, body=body)

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the opened stream; what more text could still change is held back."""
        stream = await self._ladder.stream(self._governed(prompt))
        policy = self._answered(prompt)
        if policy.allows_all:
            return stream
        payloads = ChangedPayloads(stream.payloads, hiding_answer(policy), self._masking)
        return replace(stream, payloads=payloads)

    def _governed(self, prompt: Prompt) -> Prompt:
        egress = self._masking.policies.at(
            "egress", tenant=self._scope.tenant, model=self.name, agent=prompt.agent
        )
        return replace(prompt, egress=egress)

    def _answered(self, prompt: Prompt) -> Policy:
        if prompt.agent or prompt.retrieval is not None or prompt.kind == "embeddings":
            return NOTHING_HIDDEN
        return self._masking.policies.at("answer", tenant=self._scope.tenant, model=self.name)
