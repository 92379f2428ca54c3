"""One server that speaks OpenAI's API: how it is asked, and what may go wrong.

Five timeouts: to connect, in our own queue (`admission`), to the first token of a stream, between
two parts of it, and in all.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Protocol, Self

import msgspec

from gateway.errors import GatewayError, UpstreamError, UpstreamInterrupted, UpstreamTimeout
from gateway.generation.http1 import HttpClient, Unreachable, Url, header_lines
from gateway.generation.http1_answer import Broken, HttpAnswer
from gateway.generation.refusal import MAX_ERROR_BYTES, refusal
from gateway.generation.response import Stall, hear_out
from gateway.generation.target import Completion, Prompt, Stream, view_completion
from gateway.generation.transcript import BrokenOff, Transcript, estimate_prompt
from gateway.openai.normalise import Kind, Normaliser
from gateway.openai.right import read_right
from gateway.openai.usage import TokenUsage
from gateway.sse import EventReader

_PATHS: dict[Kind, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "moderations": "/moderations",
}

_encode = msgspec.json.Encoder().encode
_MAX_ANSWER_BYTES = 64_000_000
_MAX_EMPTY_CHUNKS = 1_000
_DONE = b"[DONE]"
_LINES = header_lines({"content-type": "application/json", "accept-encoding": "identity"})


class Timeouts(Protocol):
    """What of a provider's or an engine's settings says how long to wait."""

    connect_timeout_s: float
    first_byte_timeout_s: float
    idle_timeout_s: float
    total_timeout_s: float


class Call(msgspec.Struct, frozen=True, eq=False):
    """One request as it goes out.

    Attributes:
        prompt: What it was made from.
        fields: The body, `model` included; `stream` and its options are added.
        lines: What lets us in, as `header_lines`.
    """

    prompt: Prompt
    fields: dict[str, Any]
    lines: bytes


class Upstream:
    """A server at one URL, called `name`. `http` is closed elsewhere."""

    def __init__(
        self, name: str, url: str, http: HttpClient, timeouts: Timeouts, query: str = ""
    ) -> None:
        self.name = name
        self._http = http
        self._timeouts = timeouts
        self._translated = _Translated(name)
        base = url.rstrip("/")
        self._urls = {kind: Url.parse(f"{base}{path}{query}") for kind, path in _PATHS.items()}

    async def complete(self, call: Call) -> Completion:
        """Return the whole answer; the total timeout is the one that counts."""
        with self._translated, await self._post(call, call.fields) as answer:
            if answer.status != 200:
                raise await self._refusal(answer)
            body = await answer.read(_MAX_ANSWER_BYTES)
        if call.prompt.kind == "chat" and (right := read_right(body)):
            return Completion(body, self.name, usage=right.usage.counted())
        return self._mended(call, body)

    def _mended(self, call: Call, body: bytes) -> Completion:
        """Return a whole answer that is out of the ordinary, in OpenAI's schema.

        Raises:
            UpstreamError: It is no answer.
        """
        try:
            view = view_completion(body)
            mended = Normaliser(call.prompt.kind, call.fields["model"]).completion(body)
        except ValueError:
            raise _nonsense(self.name) from None
        usage = TokenUsage(complete=True)
        if not (view.usage and usage.take(view.usage)):
            usage.prompt_tokens = estimate_prompt(call.prompt)
            usage.completion_tokens = sum(choice.estimate for choice in view.choices)
            usage.estimated = True
        return Completion(mended, self.name, usage=usage)

    async def stream(self, call: Call, on_end: "OnEnd", usage: TokenUsage | None = None) -> Stream:
        """Return the stream once its first content is there; what it takes is told in `usage`.

        `on_end` is called once when an opened stream is over: with the error that ended it, or
        None. It is not called when this raises.
        """
        options = {"include_usage": True, **call.fields.get("stream_options", {})}
        fields = call.fields | {"stream": True, "stream_options": options}
        transcript = Transcript(call.prompt, call.fields["model"], usage)
        held = list[bytes]()
        with self._translated:
            async with asyncio.timeout(self._timeouts.first_byte_timeout_s):
                answer = await self._post(call, fields)
                if answer.status != 200:
                    raise await self._refusal(answer)
                payloads = self._payloads(answer, transcript)
                try:
                    while not transcript.begun and len(held) <= _MAX_EMPTY_CHUNKS:
                        held.append(await anext(payloads))
                except StopAsyncIteration:
                    pass
                except BaseException:
                    await payloads.aclose()
                    raise
        if len(held) > _MAX_EMPTY_CHUNKS:
            await payloads.aclose()
            raise _nonsense(self.name)
        return Stream(OpenPayloads(held[::-1], payloads, on_end), self.name, usage=transcript.usage)

    def _post(self, call: Call, fields: dict[str, Any]) -> Coroutine[Any, Any, HttpAnswer]:
        return self._http.post(
            self._urls[call.prompt.kind],
            _LINES + call.lines,
            _encode(fields),
            connect_timeout_s=self._timeouts.connect_timeout_s,
            total_timeout_s=self._timeouts.total_timeout_s,
        )

    async def _refusal(self, answer: HttpAnswer) -> GatewayError:
        """Return what an answer of another status than 200 means."""
        with answer:
            try:
                body = await answer.read(MAX_ERROR_BYTES)
            except (Broken, ValueError):
                body = b""
        return refusal(self.name, answer.status, answer.headers, body)

    async def _payloads(
        self, answer: HttpAnswer, transcript: Transcript
    ) -> AsyncGenerator[bytes, None]:
        """Yield the client's chunks until `[DONE]`, or an end that leaves no answer open."""
        events, part, done = EventReader(), b"-", False
        try:
            with self._translated, answer, Stall(answer, self._timeouts.idle_timeout_s) as stall:
                while part and not done:
                    part = await stall.next()
                    for payload in events.feed(part) if part else events.end():
                        stall.heard()
                        if done := payload == _DONE:
                            break
                        chunk = transcript.take(payload)
                        if transcript.begun:
                            stall.arm()
                        if chunk is not None:
                            yield chunk
                if not done and not transcript.ended:
                    raise _interrupted(self.name)
                if not transcript.answered:
                    raise _nonsense(self.name)
                await hear_out(answer)
            for last in transcript.finish():
                yield last
        finally:
            transcript.settle()


class _Translated:
    """A context that turns the client's errors into ours; it has no state."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        if isinstance(error, Unreachable):
            raise UpstreamError(f"{self._name} can't be reached", code=UNREACHABLE) from None
        if isinstance(error, TimeoutError):
            message = f"{self._name} did not answer in time"
            raise UpstreamTimeout(message, code="upstream_timeout") from None
        if isinstance(error, ValueError):
            raise _nonsense(self._name) from None
        if isinstance(error, OSError | BrokenOff):
            raise _interrupted(self._name) from None


def _nonsense(name: str) -> UpstreamError:
    message = f"{name} answered what is not an OpenAI completion"
    return UpstreamError(message, code="upstream_invalid_answer")


def _interrupted(name: str) -> UpstreamInterrupted:
    message = f"{name} broke off before its end"
    return UpstreamInterrupted(message, code="upstream_interrupted")


UNREACHABLE = "upstream_unreachable"
"""Code of the error of a server that nothing was sent to."""

OnEnd = Callable[[GatewayError | None], None]


class OpenPayloads:
    """The payloads that were held back while a stream was opened, last one first, then the rest."""

    __slots__ = ("_held", "_on_end", "_rest")

    def __init__(self, held: list[bytes], rest: AsyncGenerator[bytes, None], on_end: OnEnd) -> None:
        self._held = held
        self._rest = rest
        self._on_end: OnEnd | None = on_end

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next payload."""
        if self._held:
            return self._held.pop()
        try:
            return await anext(self._rest)
        except BaseException as error:
            self._end(error if isinstance(error, GatewayError) else None)
            raise

    async def aclose(self) -> None:
        """Close the connection, which ends the upstream's work."""
        self._held.clear()
        try:
            await self._rest.aclose()
        finally:
            self._end(None)

    def __del__(self) -> None:
        # Who opens a stream and is cancelled before its first frame has nothing to close yet.
        self._end(None)

    def _end(self, error: GatewayError | None) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end:
            on_end(error)
