"""A short question to an agent's own model, beside the turn: it may fail, and never holds it up."""

import asyncio
import logging
from dataclasses import dataclass

import msgspec

from gateway.errors import GatewayError
from gateway.generation.target import Prompt, Target, view_completion
from gateway.govern.charge import Charge

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Aside:
    """Who is asked, and how.

    Attributes:
        target: A language model.
        timeout_s: Longest wait.
        charge: The account of the turn that it is a part of.
        agent: Whose model it is.
        affinity: As in `Prompt`.
        local_only: Never leave our own engines.
    """

    target: Target
    timeout_s: float
    charge: Charge
    agent: str
    affinity: str | None
    local_only: bool

    async def ask(self, task: str, text: str, *, max_tokens: int) -> str:
        """Return what the model says to a text; '' where it fails, or takes too long."""
        fields = {
            "messages": [{"role": "system", "content": task}, {"role": "user", "content": text}],
            "max_completion_tokens": max_tokens,
            "temperature": 0,
        }
        if not self.target.accepts_unknown:
            # An engine is among them: no time for thoughts.
            fields["chat_template_kwargs"] = {"enable_thinking": False}
        prompt = Prompt(
            fields,
            tenant=self.charge.scope.tenant,
            affinity=self.affinity,
            local_only=self.local_only,
            charge=self.charge,
            agent=self.agent,
            verdicts={},
        )
        try:
            async with asyncio.timeout(self.timeout_s):
                completion = await self.target.complete(prompt)
            choices = view_completion(completion.body).choices
        except (GatewayError, TimeoutError, msgspec.MsgspecError) as error:
            _log.warning("a turn goes on without its model's help: %s", type(error).__name__)
            return ""
        whole = choices and choices[0].finish_reason != "length"
        return (choices[0].message.content or "") if whole else ""
