"""The one translation between the Responses API and the chat completions that targets speak.

There: a request's fields and items become a chat's fields and messages. Back: what a completion or
a chunk of one says becomes `Said` parts; `gateway.responses.draft` makes items and events of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from gateway.errors import UpstreamError
from gateway.openai.chat_request import JsonObject
from gateway.openai.response_items import (
    FileSearchCall,
    FunctionCallItem,
    FunctionCallOutput,
    InputFile,
    InputImage,
    InputPart,
    Item,
    Message,
    OutputPart,
    Reasoning,
    RefusalText,
)
from gateway.openai.responses import InputTokensDetails, OutputTokensDetails, ResponseUsage
from gateway.openai.responses_request import (
    AllowedTools,
    ChosenFileSearch,
    ChosenFunction,
    CreateResponse,
    FunctionTool,
    SchemaFormat,
)
from gateway.openai.said import CallPart, Counted, Ended, Named, Refusal, Said, Text, Thought

_SAME = (
    *("temperature", "top_p", "service_tier", "user", "safety_identifier"),
    *("prompt_cache_key", "prompt_cache_retention"),
)
_Json = dict[str, Any]


def chat_fields(asked: CreateResponse) -> _Json:
    """Return the fields of a chat completion, `messages` aside."""
    logprobs = asked.includes("message.output_text.logprobs")
    fields = {name: getattr(asked, name) for name in _SAME} | {
        "max_completion_tokens": asked.max_output_tokens,
        "reasoning_effort": asked.reasoning and asked.reasoning.effort,
        "verbosity": asked.text and asked.text.verbosity,
        "response_format": _response_format(asked),
        "logprobs": logprobs or None,
        "top_logprobs": asked.top_logprobs if logprobs else None,
    }
    functions = [tool for tool in asked.may_call if isinstance(tool, FunctionTool)]
    if functions:
        fields["tools"] = [{"type": "function", "function": _function(tool)} for tool in functions]
        fields["tool_choice"] = _tool_choice(asked)
        fields["parallel_tool_calls"] = asked.parallel_tool_calls
    return {name: value for name, value in fields.items() if value is not None}


def _function(tool: FunctionTool) -> _Json:
    function: _Json = msgspec.to_builtins(tool)
    del function["type"]
    return function


def _tool_choice(asked: CreateResponse) -> str | _Json | None:
    """Return what must be called; a search that is made already fulfils `required`."""
    choice = asked.tool_choice
    if isinstance(choice, ChosenFunction):
        return {"type": "function", "function": {"name": choice.name}}
    mode = choice.mode if isinstance(choice, AllowedTools) else choice
    if isinstance(mode, ChosenFileSearch) or (mode == "required" and asked.file_search):
        return None
    return mode


def _response_format(asked: CreateResponse) -> _Json | None:
    form = asked.text and asked.text.format
    if not form:
        return None
    told: _Json = msgspec.to_builtins(form)
    if isinstance(form, SchemaFormat):
        return {"type": told.pop("type"), "json_schema": told}
    return told


def chat_messages(items: Iterable[Item], *, with_reasoning: bool) -> list[_Json]:
    """Return the items as messages.

    What a model thought, said and called at one time is one message. Searches leave nothing: their
    passages are looked up anew. Thoughts go to our engines alone: hosted APIs refuse them.
    """
    messages: list[_Json] = []
    for item in items:
        if isinstance(item, FunctionCallOutput):
            messages.append({"role": "tool", "tool_call_id": item.call_id, "content": item.text})
        elif isinstance(item, Message) and item.role != "assistant":
            role = "user" if item.role == "user" else "system"
            messages.append({"role": role, "content": _content(item.parts)})
        elif isinstance(item, Reasoning):
            if with_reasoning and item.text:
                messages.append({"role": "assistant", "reasoning_content": item.text})
        elif not isinstance(item, FileSearchCall):
            _add_to_turn(messages, item)
    return [message for message in messages if message.keys() - {"role", "reasoning_content"}]


def _add_to_turn(messages: list[_Json], item: Message | FunctionCallItem) -> None:
    """Add what a model did to its last message, or to a new one where that goes before."""
    last = messages[-1] if messages and messages[-1]["role"] == "assistant" else None
    added: _Json
    if isinstance(item, FunctionCallItem):
        added = {"tool_calls": [*(last or {}).get("tool_calls", ()), _call(item)]}
    else:
        added = _answer(item)
        if last and last.keys() - {"role", "reasoning_content"}:
            last = None
    if last is None:
        messages.append(last := {"role": "assistant"})
    last |= added


def _call(item: FunctionCallItem) -> _Json:
    function = {"name": item.name, "arguments": item.arguments}
    return {"id": item.call_id, "type": "function", "function": function}


def _answer(item: Message) -> _Json:
    refused = [part.refusal for part in item.parts if isinstance(part, RefusalText)]
    said = [part for part in item.parts if not isinstance(part, RefusalText)]
    answer: _Json = {"refusal": "\n".join(refused)} if refused else {}
    return answer | {"content": _content(said)} if said or not refused else answer


def _content(parts: Sequence[InputPart | OutputPart]) -> str | list[_Json]:
    told = [_part(part) for part in parts]
    if all(part["type"] == "text" for part in told) and len(told) <= 1:
        return "".join(part["text"] for part in told)
    return told


def _part(part: InputPart | OutputPart) -> _Json:
    if isinstance(part, InputImage):
        return {"type": "image_url", "image_url": {"url": part.image_url, "detail": part.detail}}
    if isinstance(part, InputFile):
        named = {"filename": part.filename} if part.filename else {}
        return {"type": "file", "file": {**named, "file_data": part.file_data}}
    return {"type": "text", "text": part.refusal if isinstance(part, RefusalText) else part.text}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _CallView(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)


class _Words(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_CallView] | None = None


class _Logprobs(msgspec.Struct):
    content: list[JsonObject] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Words | None = None
    message: _Words | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details = msgspec.field(default_factory=_Details)
    completion_tokens_details: _Details = msgspec.field(default_factory=_Details)


class _Answer(msgspec.Struct):
    model: str = ""
    service_tier: str | None = None
    choices: list[_Choice] = []
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Answer).decode


def said_by(payload: bytes) -> Iterator[Said]:
    """Yield what a completion, or a chunk of one, says; of several answers the first.

    `payload` is mended already (`gateway.openai.normalise`).

    Raises:
        UpstreamError: A part of it is not of OpenAI's schema all the same.
    """
    try:
        answer = _decode(payload)
    except msgspec.ValidationError:
        message = "the model's answer has a part that is not of OpenAI's schema"
        raise UpstreamError(message, code="upstream_invalid_answer") from None
    yield Named(answer.model, answer.service_tier)
    for choice in answer.choices:
        if choice.index == 0:
            yield from _said_in(choice)
    if answer.usage:
        yield Counted(_usage_of(answer.usage))


def _said_in(choice: _Choice) -> Iterator[Said]:
    words = choice.delta or choice.message or _Words()
    if words.reasoning_content:
        yield Thought(words.reasoning_content)
    logprobs = (choice.logprobs and choice.logprobs.content) or ()
    if words.content or logprobs:
        yield Text(words.content or "", [_logprob(each) for each in logprobs])
    if words.refusal:
        yield Refusal(words.refusal)
    for place, call in enumerate(words.tool_calls or ()):
        index = place if call.index is None else call.index
        function = call.function
        yield CallPart(index, call.id or "", function.name or "", function.arguments or "")
    if choice.finish_reason:
        yield Ended(choice.finish_reason)


def _logprob(told: _Json) -> _Json:
    """Return a token's probability; where its bytes are not told, they are its text's."""
    top = [_logprob(other) for other in told.get("top_logprobs") or ()]
    known = told.get("bytes")
    raw = list(told["token"].encode("utf-8", "replace")) if known is None else known
    cleaned = {"token": told["token"], "logprob": told["logprob"], "bytes": raw}
    return cleaned | {"top_logprobs": top} if "top_logprobs" in told else cleaned


def _usage_of(told: _Usage) -> ResponseUsage:
    """Return token counts in the words of the Responses API."""
    asked, said = told.prompt_tokens_details, told.completion_tokens_details
    return ResponseUsage(
        input_tokens=told.prompt_tokens,
        output_tokens=told.completion_tokens,
        total_tokens=told.prompt_tokens + told.completion_tokens,
        input_tokens_details=InputTokensDetails(
            asked.cached_tokens or 0, asked.cache_write_tokens or 0
        ),
        output_tokens_details=OutputTokensDetails(said.reasoning_tokens or 0),
    )
