"""A hosted API, or any server that speaks the OpenAI API."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from config.targets import ProviderSettings
from gateway.errors import GatewayError, Overloaded, UpstreamError
from gateway.generation.breaker import Breaker, at_fault
from gateway.generation.http1 import HttpClient, header_lines
from gateway.generation.keys import Keys
from gateway.generation.target import Completion, Prompt, Stream
from gateway.generation.upstream import Call, Upstream
from gateway.govern.charge import current_exchange

_Result = TypeVar("_Result", Completion, Stream)


class Hosted:
    """One model of one provider, e.g. `openai/gpt-4o-mini`.

    Connections are pooled in `http`, which the caller owns.
    """

    place: Final = "hosted"
    accepts_unknown = True
    context = None

    def __init__(
        self, http: HttpClient, provider: str, settings: ProviderSettings, model: str
    ) -> None:
        self.name = f"{provider}/{model}"
        self._model = model
        self._keys = Keys(settings)
        self._breaker = Breaker(self.name)
        query = f"?api-version={settings.api_version}" if settings.api_version else ""
        self._upstream = Upstream(self.name, str(settings.base_url), http, settings, query)

    @property
    def usable(self) -> bool:
        """Return whether it does not rest after failures."""
        return not self._breaker.wait_s

    def first_token_s(self, prompt: Prompt) -> float:
        """Return 0: nothing is known of its queue."""
        del prompt
        return 0.0

    def complete(self, prompt: Prompt) -> Coroutine[Any, Any, Completion]:
        """Return the answer, once it is known to be a completion."""
        return self._ask(prompt, self._upstream.complete)

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the stream once its first chunk with content is there."""
        return await self._ask(prompt, lambda call: self._upstream.stream(call, self._ended))

    async def _ask(self, prompt: Prompt, ask: Callable[[Call], Awaitable[_Result]]) -> _Result:
        """Ask with one key after the other until it is not the key that is refused."""
        failure: GatewayError | None = None
        fields = {**prompt.fields, "model": self._model}
        trace = current_exchange().trace
        told = header_lines(trace.headers()) if trace.to_hosted else b""
        with self._breaker.attempt():
            for attempt, key in enumerate(self._keys.in_turn(), start=1):
                try:
                    result = await ask(Call(prompt, fields, key.lines + told))
                except (Overloaded, UpstreamError) as error:
                    if not self._keys.rest(key, error):
                        raise
                    failure = error
                else:
                    return result if attempt == 1 else replace(result, attempts=attempt)
            assert failure is not None, "there is one key at least"  # noqa: S101
            raise failure

    def _ended(self, error: GatewayError | None) -> None:
        if error and at_fault(error):
            self._breaker.fail(error)
