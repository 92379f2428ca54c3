"""A vLLM engine of our own: one or several servers of one model, and its adapters."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from gateway.errors import (
    GatewayError,
    Unavailable,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.generation.breaker import at_fault
from gateway.generation.http1 import header_lines
from gateway.generation.replica import Replica, Visit
from gateway.generation.replicas import Replicas
from gateway.generation.target import Completion, Prompt, Stream
from gateway.generation.transcript import estimate_prompt
from gateway.generation.upstream import UNREACHABLE, Call, OnEnd
from gateway.govern.charge import current_exchange
from gateway.observe.phases import traced
from gateway.openai.engine_fields import NOT_FOR_ENGINES
from gateway.openai.usage import TokenUsage

_Result = TypeVar("_Result", Completion, Stream)
_STREAM_OPTIONS = {"include_usage": True, "continuous_usage_stats": True}


class Engine:
    """The engine's model, or `adapter`, one that is served beside it (LoRA)."""

    place: Final = "engine"
    accepts_unknown = False

    def __init__(self, replicas: Replicas, adapter: str = "") -> None:
        self.name = f"engine/{replicas.name}" + (f"/{adapter}" if adapter else "")
        self._replicas = replicas
        self._adapter = adapter

    @property
    def context(self) -> int | None:
        """Return how many tokens prompt and answer may have together."""
        return self._replicas.context

    @property
    def usable(self) -> bool:
        """Return whether one of its servers can be asked at the moment."""
        return self._replicas.usable

    def first_token_s(self, prompt: Prompt) -> float:
        """Return in how many seconds the first token is to be expected."""
        try:
            replica = self._replicas.choose(prompt)
        except Unavailable:
            return 0.0
        queued = self._replicas.admission.oldest_wait_s
        return queued + replica.first_token_s(estimate_prompt(prompt))

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the whole answer."""
        await self._replicas.admission.enter()
        try:
            return await self._over_replicas(prompt, self._complete)
        finally:
            self._replicas.admission.leave()

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the stream once its first chunk with content is there."""
        await self._replicas.admission.enter()
        try:
            return await self._over_replicas(prompt, self._stream)
        except BaseException:
            self._replicas.admission.leave()
            raise

    async def _over_replicas(
        self, prompt: Prompt, ask: Callable[[Replica, Prompt], Awaitable[_Result]]
    ) -> _Result:
        """Ask one replica, and others as long as they fail at once."""
        self._replicas.budget.count_request()
        replica, tried = self._replicas.choose(prompt), list[Replica]()
        while True:
            tried.append(replica)
            try:
                with replica.breaker.attempt(), traced("engine", {"server.address": replica.url}):
                    result = await ask(replica, prompt)
                return replace(result, target=self.name, attempts=len(tried))
            except (UpstreamRefused, UpstreamTimeout):
                raise
            except UpstreamError as error:
                if error.code == UNREACHABLE:
                    replica.up = False
                following = self._another(prompt, tried)
                if following is None:
                    raise
                replica = following

    def _another(self, prompt: Prompt, tried: list[Replica]) -> Replica | None:
        try:
            replica = self._replicas.choose(prompt, tried)
        except Unavailable:
            return None
        return replica if self._replicas.budget.spend() else None

    async def _complete(self, replica: Replica, prompt: Prompt) -> Completion:
        visit = replica.begin(estimate_prompt(prompt))
        try:
            completion = await replica.upstream.complete(self._call(replica, prompt))
        except BaseException:
            replica.end(visit)
            raise
        completion.usage.engine_ns = replica.end(visit)
        return completion

    async def _stream(self, replica: Replica, prompt: Prompt) -> Stream:
        visit, usage = replica.begin(estimate_prompt(prompt)), TokenUsage()
        try:
            call = self._call(replica, prompt, stream_options=_STREAM_OPTIONS)
            on_end = self._on_end(replica, visit, usage)
            stream = await replica.upstream.stream(call, on_end, usage)
        except BaseException:
            replica.end(visit)
            raise
        replica.first_token(visit)
        return stream

    def _on_end(self, replica: Replica, visit: Visit, usage: TokenUsage) -> OnEnd:
        def ended(error: GatewayError | None) -> None:
            usage.engine_ns = replica.end(visit)
            self._replicas.admission.leave()
            if error and at_fault(error):
                replica.breaker.fail(error)

        return ended

    def _call(self, replica: Replica, prompt: Prompt, **more: Any) -> Call:  # noqa: ANN401 - JSON
        kept = {k: v for k, v in prompt.fields.items() if k not in NOT_FOR_ENGINES}
        fields: dict[str, Any] = {
            **kept,
            **more,
            "model": self._adapter or replica.model or self._replicas.name,
            "cache_salt": self._replicas.salt(prompt.tenant),
        }
        if prompt.continues:
            fields |= {"continue_final_message": True, "add_generation_prompt": False}
        trace = header_lines(current_exchange().trace.headers())
        return Call(prompt, fields, replica.lines + trace)
