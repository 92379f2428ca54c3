"""A response of a model: its items as a prompt for the alias's ladder, and what the ladder says."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec
from msgspec.structs import replace

from auth import require
from config.scope import TenantScope
from gateway.agents.prompt import search_instructions
from gateway.errors import InvalidRequest, naming
from gateway.generation.checked import checked_prompt
from gateway.generation.target import Comment, Completion, Prompt, Served, Stream, Target
from gateway.govern.masking.policy import NOTHING_HIDDEN, Policy
from gateway.media import Media
from gateway.openai.chat_request import ChatRequest, JsonFormat
from gateway.openai.response_items import Item, Message
from gateway.openai.responses_chat import chat_fields, chat_messages, said_by
from gateway.openai.responses_request import SchemaFormat
from gateway.openai.said import Said
from gateway.openai.usage import TokenUsage
from gateway.responses.file_search import cited, look_up
from gateway.responses.turn import Turn
from gateway.responses.uploads import Uploads
from rag import Embedders, Reranker, Retrieval, get_store


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer that has begun.

    Attributes:
        served: Who gives it.
        said: What is said; who reads it closes it.
        usage: What it took, as far as is known.
        message_id: What the answer's message is called, and the turn in its conversation; empty
            leaves it to the draft.
        kept: Whether who answers stores the turn itself, where a conversation was named.
        policy: What of it may be stored.
    """

    served: Served
    said: AsyncGenerator[Said, None]
    usage: TokenUsage
    message_id: str = ""
    kept: bool = False
    policy: Policy = NOTHING_HIDDEN


class ModelAnswers:
    """Asks models; one per process."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        embedders: Embedders,
        media: Media,
        uploads: Uploads,
        *,
        reranker: Reranker | None,
        max_choices: int,
    ) -> None:
        self._pool = pool
        self._embedders = embedders
        self._media = media
        self._uploads = uploads
        self._reranker = reranker
        self._max_choices = max_choices

    async def check(self, scope: TenantScope, turn: Turn) -> None:
        """Refuse what names a vector store, or a file, that the caller does not have.

        Raises:
            NotFound: Names what is not there.
            InsufficientScope: The caller may not search, or not read files.
        """
        if tool := turn.asked.file_search:
            require(scope, "knowledge")
            with naming("vector store", "tools.vector_store_ids"):
                for store_id in tool.vector_store_ids:
                    await get_store(self._pool, scope, store_id)
        await self._uploads.check(scope, turn.items)

    async def open(
        self,
        scope: TenantScope,
        target: Target,
        turn: Turn,
        context: Sequence[Item],
        *,
        stream: bool,
    ) -> Opened:
        """Begin to answer; `context` is what came before the turn's own items.

        Errors before the first content are raised here.
        """
        items: Sequence[Item] = [*context, *turn.items]
        found = None
        if tool := turn.asked.file_search:
            found = await look_up(
                self._pool, self._embedders, scope, tool, items, reranker=self._reranker
            )
        try:
            prompt = await self._prompt(scope, target, turn, items, found)
            answered = await (target.stream(prompt) if stream else target.complete(prompt))
        except InvalidRequest as error:
            _name_as_sent(error, turn)
            raise
        return _opened(answered, turn, found)

    async def _prompt(
        self,
        scope: TenantScope,
        target: Target,
        turn: Turn,
        items: Sequence[Item],
        found: Retrieval | None,
    ) -> Prompt:
        asked, ours = turn.asked, not target.accepts_unknown
        ready = await self._uploads.put_in_place(scope, items, as_text=ours)
        messages = chat_messages(ready, with_reasoning=ours)
        if not messages:
            raise InvalidRequest("input: say something; it is empty", param="input")
        instructions = asked.instructions or ""
        if found:
            instructions = search_instructions(instructions, found.passages)
        if instructions:
            messages.insert(0, {"role": "system", "content": instructions})
        body: dict[str, Any] = {
            **turn.extras,
            **chat_fields(asked),
            "model": asked.model,
            "messages": messages,
        }
        chat = msgspec.convert(body, ChatRequest)
        prompt = await checked_prompt(
            chat, body, target, self._media, max_choices=self._max_choices
        )

        async def shorter() -> Prompt | None:
            fewer = shortened(items)
            return await self._prompt(scope, target, turn, fewer, found) if fewer else None

        return replace(
            prompt,
            api="responses",
            include_usage=True,
            retrieval=found,
            tenant=scope.tenant,
            affinity=prompt.affinity or asked.conversation_id,
            local_only=turn.local_only,
            shorter=shorter if asked.truncation == "auto" else None,
        )


def _name_as_sent(error: InvalidRequest, turn: Turn) -> None:
    """Let an error name the caller's field, not the message that was made of it."""
    made = error.param or ""
    if not made.startswith("messages["):
        return
    first = made.startswith("messages[0]")
    error.param = "instructions" if first and turn.asked.instructions else "input"
    error.message = error.message.replace(made, error.param, 1)


def shortened(items: Sequence[Item]) -> list[Item] | None:
    """Return the items without the older half of what was said, instructions aside.

    They begin with a message of the user, so that no function's output lacks its call. None where
    there is nothing to leave out.
    """
    begins = [
        place
        for place, item in enumerate(items)
        if place and isinstance(item, Message) and item.role == "user"
    ]
    if not begins:
        return None
    cut = next((place for place in begins if place * 2 >= len(items)), begins[-1])
    orders = [
        item
        for item in items[:cut]
        if isinstance(item, Message) and item.role in ("system", "developer")
    ]
    return [*orders, *items[cut:]] if len(orders) < cut else None


def _opened(answered: Completion | Stream, turn: Turn, found: Retrieval | None) -> Opened:
    said = _streamed(answered) if isinstance(answered, Stream) else _whole(answered)
    form = turn.asked.text and turn.asked.text.format
    if found and not isinstance(form, JsonFormat | SchemaFormat):
        with_results = turn.asked.includes("file_search_call.results")
        said = cited(said, found, with_results=with_results)
    served = Served(target=answered.target, attempts=answered.attempts, reason=answered.reason)
    return Opened(served, said, answered.usage)


async def _whole(completion: Completion) -> AsyncGenerator[Said, None]:
    for part in said_by(completion.body):
        yield part


async def _streamed(stream: Stream) -> AsyncGenerator[Said, None]:
    try:
        async for payload in stream.payloads:
            if not isinstance(payload, Comment):
                for part in said_by(payload):
                    yield part
    finally:
        await stream.payloads.aclose()
