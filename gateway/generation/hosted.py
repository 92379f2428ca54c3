"""A hosted API, or any server that speaks the OpenAI API."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import aiohttp
import msgspec

from config.targets import ProviderSettings
from gateway.errors import (
    GatewayError,
    NotFound,
    Overloaded,
    UpstreamError,
    UpstreamInterrupted,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.generation.target import Completion, Prompt, Stream, view_chunk, view_completion
from gateway.generation.usage import TokenUsage
from gateway.sse import read_events

_MAX_ANSWER_BYTES = 64_000_000
_MAX_ERROR_BYTES = 64_000
_MAX_EMPTY_CHUNKS = 1_000
_CALLERS_FAULT = {400, 413, 422}
_DONE = b"[DONE]"


class _UpstreamFault(msgspec.Struct):
    message: str = ""
    param: str | None = None
    code: str | int | None = None


class _UpstreamErrorBody(msgspec.Struct):
    error: _UpstreamFault


class Hosted:
    """One model of one provider, e.g. `openai/gpt-4o-mini`.

    Connections are pooled in `http`, which the caller owns and which sets no total timeout.
    """

    def __init__(
        self, http: aiohttp.ClientSession, provider: str, settings: ProviderSettings, model: str
    ) -> None:
        self.name = f"{provider}/{model}"
        self.accepts_unknown = True
        self._http = http
        self._model = model
        self._settings = settings
        self._url = f"{str(settings.base_url).rstrip('/')}/chat/completions"
        self._timeout = aiohttp.ClientTimeout(
            total=settings.total_timeout_s,
            connect=settings.connect_timeout_s,
            sock_connect=settings.connect_timeout_s,
            sock_read=None,
        )

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the upstream's answer as it stands, once it is known to be a completion."""
        with self._translated():
            async with asyncio.timeout(self._settings.total_timeout_s):
                response = await self._post(dict(prompt.fields))
                async with response:
                    body = await _read(response, _MAX_ANSWER_BYTES)
        try:
            told = view_completion(body).usage
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._nonsense() from None
        usage = TokenUsage(complete=True)
        if told:
            usage.take(told)
        return Completion(body, self.name, usage=usage)

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the stream once its first chunk with content is there."""
        fields = dict(prompt.fields) | {"stream": True}
        if prompt.include_usage:
            fields["stream_options"] = {"include_usage": True}
        with self._translated():
            response = await self._post(fields)
        usage = TokenUsage()
        payloads = self._payloads(response, usage)
        try:
            held = await self._until_content(payloads)
        except BaseException:
            await payloads.aclose()
            raise
        return Stream(_resume(held, payloads), self.name, usage=usage)

    async def _until_content(self, payloads: AsyncGenerator[bytes, None]) -> list[bytes]:
        held: list[bytes] = []
        async for payload in payloads:
            held.append(payload)
            if view_chunk(payload).commits:
                break
            if len(held) > _MAX_EMPTY_CHUNKS:
                raise self._nonsense()
        return held

    async def _post(self, fields: dict[str, Any]) -> aiohttp.ClientResponse:
        headers = {"content-type": "application/json"}
        if self._settings.api_key:
            headers["authorization"] = f"Bearer {self._settings.api_key.get_secret_value()}"
        body = msgspec.json.encode(fields | {"model": self._model})
        async with asyncio.timeout(self._settings.first_byte_timeout_s):
            response = await self._http.post(
                self._url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            )
            if response.status == 200:
                return response
            async with response:
                raise await self._refusal(response)

    async def _refusal(self, response: aiohttp.ClientResponse) -> GatewayError:
        """Return the error for a status other than 200."""
        fault = await _read_fault(response)
        code = None if fault.code is None else str(fault.code)
        if response.status in _CALLERS_FAULT:
            message = fault.message or f"{self.name} refused the request"
            return UpstreamRefused(response.status, message, param=fault.param, code=code)
        if response.status == 404:
            message = fault.message or f"{self.name} does not exist"
            return NotFound(message, param="model", code="model_not_found")
        if response.status == 429:
            kept = ("retry-after", "retry-after-ms")
            headers = {name: response.headers[name] for name in kept if name in response.headers}
            message = f"{self.name} is at its own limit"
            return Overloaded(message, code="upstream_rate_limit", headers=headers)
        message = f"{self.name} answered status {response.status}"
        return UpstreamError(message, code=f"upstream_status_{response.status}")

    async def _payloads(
        self, response: aiohttp.ClientResponse, usage: TokenUsage
    ) -> AsyncGenerator[bytes, None]:
        """Yield each event's data until `[DONE]`; an end without it is an interruption."""
        async with response:
            events = read_events(response.content.iter_any())
            patience = self._settings.first_byte_timeout_s
            while True:
                with self._translated():
                    async with asyncio.timeout(patience):
                        payload = await anext(events, None)
                patience = self._settings.idle_timeout_s
                if payload == _DONE:
                    return
                if payload is None:
                    raise self._interrupted()
                self._check(payload, usage)
                yield payload

    def _check(self, payload: bytes, usage: TokenUsage) -> None:
        try:
            chunk = view_chunk(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._nonsense() from None
        if chunk.error is not None:
            raise self._interrupted()
        if chunk.usage:
            usage.take(chunk.usage)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the client library's errors into ours."""
        try:
            yield
        except TimeoutError:
            message = f"{self.name} did not answer in time"
            raise UpstreamTimeout(message, code="upstream_timeout") from None
        except ValueError:
            raise self._nonsense() from None
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
            raise self._interrupted() from None
        except (aiohttp.ClientError, OSError):
            message = f"{self.name} can't be reached"
            raise UpstreamError(message, code="upstream_unreachable") from None

    def _nonsense(self) -> UpstreamError:
        message = f"{self.name} answered what is not an OpenAI completion"
        return UpstreamError(message, code="upstream_invalid_answer")

    def _interrupted(self) -> UpstreamInterrupted:
        message = f"{self.name} broke off before its end"
        return UpstreamInterrupted(message, code="upstream_interrupted")


async def _resume(
    held: list[bytes], rest: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    try:
        for payload in held:
            yield payload
        async for payload in rest:
            yield payload
    finally:
        await rest.aclose()


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise ValueError("answer too long")
        parts.append(part)
    return b"".join(parts)


async def _read_fault(response: aiohttp.ClientResponse) -> _UpstreamFault:
    """Return the upstream's own words where it speaks OpenAI's error object."""
    try:
        body = await _read(response, _MAX_ERROR_BYTES)
        return msgspec.json.decode(body, type=_UpstreamErrorBody).error
    except (ValueError, aiohttp.ClientError):
        return _UpstreamFault()
