"""A response of an agent: the same turn as on its own routes, told as items."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from auth import require
from config.scope import TenantScope
from gateway.agents.draft import AgentAnswer, Question
from gateway.agents.question import check_message
from gateway.agents.registry import Agent
from gateway.agents.run import LiveAnswer
from gateway.agents.turns import Turns
from gateway.errors import InvalidRequest
from gateway.openai.chat import Usage
from gateway.openai.chat_request import JsonFormat
from gateway.openai.response_items import InputText, Item, Message, OutputText, Reasoning
from gateway.openai.responses import InputTokensDetails, OutputTokensDetails, ResponseUsage
from gateway.openai.responses_request import CreateResponse, SchemaFormat
from gateway.openai.said import Cited, Counted, Ended, Named, Said, Text
from gateway.openai.usage import TokenUsage
from gateway.responses.model import Opened
from gateway.responses.turn import Turn

_ORDERING = ("system", "developer")
_SAMPLING = ("temperature", "top_p", "service_tier", "prompt_cache_key", "safety_identifier")


class AgentAnswers:
    """Asks agents; one per process."""

    def __init__(self, turns: Turns, *, max_chars: int) -> None:
        self._turns = turns
        self._max_chars = max_chars

    async def open(
        self,
        scope: TenantScope,
        agent: Agent,
        turn: Turn,
        context: Sequence[Item],
        *,
        stream: bool,
    ) -> Opened:
        """Begin to answer; of a conversation the agent knows itself what came before.

        Errors before the first content are raised here.
        """
        question = self.question(scope, turn, context)
        if stream:
            live = await self._turns.stream(scope, agent, question)
            served, said = live.served, _streamed(live)
        else:
            answer = await self._turns.answer(scope, agent, question)
            served, said = answer.served, _whole(answer)
        return Opened(served, said, TokenUsage(), question.message_id, kept=True)

    def question(self, scope: TenantScope, turn: Turn, context: Sequence[Item]) -> Question:
        """Return what the agent is asked.

        Raises:
            InvalidRequest: An agent does not do what is asked.
            TooLarge: The message is too long.
            InsufficientScope: The caller may not ask agents.
        """
        require(scope, "agents")
        _check(turn)
        said = [item for item in turn.items if isinstance(item, Message)]
        if not said or said[-1].role != "user":
            raise InvalidRequest("input: the last message must be the user's", param="input")
        *given, last = said
        before = [item for item in [*context, *given] if isinstance(item, Message)]
        orders = [turn.asked.instructions or ""]
        orders += [item.text for item in given if item.role in _ORDERING]
        return Question(
            text=check_message(last.text, self._max_chars, "input"),
            session_id=turn.asked.conversation_id,
            given=[
                {"role": item.role, "content": item.text}
                for item in before
                if item.role not in _ORDERING
            ],
            instructions=[order for order in orders if order],
            sampling=_sampling(turn.asked),
            local_only=turn.local_only,
        )


def _check(turn: Turn) -> None:
    """Refuse what an agent does not do.

    Raises:
        InvalidRequest: Says what.
    """
    asked = turn.asked
    if asked.tools:
        raise _refused("tools", "an agent has its own")
    if asked.text and isinstance(asked.text.format, JsonFormat | SchemaFormat):
        raise _refused("text.format", "an agent answers in plain text")
    if asked.includes("message.output_text.logprobs"):
        raise _refused("include", "an agent's answer has no logprobs")
    for name in turn.extras.keys() - {"variables"}:
        raise _refused(name[:128], "an agent does not take this field")
    for place, item in enumerate(turn.items):
        told = isinstance(item, Message) and all(
            isinstance(part, InputText | OutputText) for part in item.parts
        )
        if not told and not isinstance(item, Reasoning):
            raise _refused(f"input[{place}]", "an agent takes messages of text")


def _sampling(asked: CreateResponse) -> dict[str, Any]:
    fields = {name: getattr(asked, name) for name in _SAMPLING} | {
        "max_completion_tokens": asked.max_output_tokens,
        "reasoning_effort": asked.reasoning and asked.reasoning.effort,
    }
    return {name: value for name, value in fields.items() if value is not None}


async def _whole(answer: AgentAnswer) -> AsyncGenerator[Said, None]:
    yield Named(answer.model, None)
    yield Text(answer.text)
    for part in _end(answer):
        yield part


async def _streamed(live: LiveAnswer) -> AsyncGenerator[Said, None]:
    yield Named(live.served.target, None)
    try:
        async for part in live.parts:
            if isinstance(part, str):
                yield Text(part)
            else:
                for said in _end(part):
                    yield said
    finally:
        await live.parts.aclose()


def _end(answer: AgentAnswer) -> list[Said]:
    counted = Counted(_usage(answer.usage))
    return [Cited(answer.references), Ended(answer.finish_reason), counted]


def _usage(usage: Usage) -> ResponseUsage:
    return ResponseUsage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        InputTokensDetails(),
        OutputTokensDetails(),
    )


def _refused(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}", param=param, code="unsupported_field")
