"""What a request to an engine may hold: OpenAI's fields, and vLLM's harmless ones within bounds.

Whoever may set any field of vLLM's can read another tenant's cache, run a template of his own, have
URLs fetched, or stop the engine with one request. So what is not named here is refused.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.errors import InvalidRequest
from gateway.openai.chat_request import JsonObject, Probability
from gateway.openai.json_schema import leads_nowhere

_TokenId = Annotated[int, Meta(ge=0, lt=2**31)]
_TokenIds = Annotated[list[_TokenId], Meta(max_length=1024)]
_Phrase = Annotated[str, Meta(min_length=1, max_length=512)]

_MAX_SCHEMA_DEPTH = 32
_MAX_SCHEMA_NODES = 5_000
_MAX_PATTERN_CHARS = 1_000
_MAX_REPEATS = 10_000
_COUNT = re.compile(r"\{\s*(\d*)\s*(?:,\s*(\d*)\s*)?\}")
_COUNTING = ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")

NOT_FOR_ENGINES = frozenset(
    {
        *("store", "metadata", "service_tier", "user", "safety_identifier", "verbosity"),
        *("prediction", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
        *("modalities", "function_call"),
    }
)
"""OpenAI's fields that an engine has no use for: accepted, and not sent to it."""

_IMPOSSIBLE = {
    "audio": "an engine answers in text",
    "web_search_options": "an engine searches no web: ask an agent, or a hosted model",
    "moderation": "an engine moderates nothing",
    "functions": "use `tools`",
    "best_of": "use `n`",
    "suffix": "an engine continues text, it fills no gaps",
}


class Thinking(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What of a chat template may be chosen."""

    enable_thinking: bool | None = None
    thinking: bool | None = None


class StructuredOutputs(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """vLLM's constraints on the answer's form: one of them.

    No `grammar`: one that leads nowhere (`root ::= root`) is an engine's status 500.
    """

    json: JsonObject | None = None
    json_object: bool | None = None
    regex: Annotated[str, Meta(min_length=1, max_length=_MAX_PATTERN_CHARS)] | None = None
    choice: Annotated[list[_Phrase], Meta(min_length=1, max_length=256)] | None = None


class EngineFields(msgspec.Struct, omit_defaults=True):
    """vLLM's own fields that do no harm."""

    top_k: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    min_p: Probability | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    stop_token_ids: _TokenIds | None = None
    allowed_token_ids: _TokenIds | None = None
    bad_words: Annotated[list[_Phrase], Meta(max_length=64)] | None = None
    ignore_eos: bool | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    include_reasoning: bool | None = None
    thinking_token_budget: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    structured_outputs: StructuredOutputs | None = None
    chat_template_kwargs: Thinking | None = None


ENGINE_ONLY = frozenset(EngineFields.__struct_fields__)
"""vLLM's fields, which a hosted API would refuse."""


def engine_fields(
    request: msgspec.Struct, fields: Mapping[str, Any], *, max_choices: int
) -> dict[str, Any]:
    """Return what of a request goes to a ladder with an engine: what was checked, nothing else.

    `request` is what was decoded from the body, `fields` are all that the body holds.

    Raises:
        InvalidRequest: A field is unknown, impossible or out of bounds; `param` names it.
    """
    known = frozenset(request.__struct_fields__) | ENGINE_ONLY
    for name in fields:
        if name not in known:
            raise _refused(name, "a model that an engine serves does not take this field")
        if name in _IMPOSSIBLE:
            raise _refused(name, _IMPOSSIBLE[name])
    ours = {name: fields[name] for name in ENGINE_ONLY & fields.keys()}
    extras = msgspec.convert(ours, EngineFields)
    checked: dict[str, Any] = msgspec.to_builtins(request) | msgspec.to_builtins(extras)
    _check_choices(checked, max_choices)
    _check_tools(checked)
    _check_forms(checked)
    _leave_out_details(checked)
    return checked


def _leave_out_details(fields: Mapping[str, Any]) -> None:
    """Leave out how closely images are to be looked at: vLLM knows neither that nor every word."""
    for message in fields.get("messages", ()):
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if part["type"] == "image_url":
                part["image_url"].pop("detail", None)


def _check_choices(fields: Mapping[str, Any], limit: int) -> None:
    if fields.get("n", 1) > limit:
        raise _refused("n", f"at most {limit} here")
    if "audio" in fields.get("modalities", ()):
        raise _refused("modalities", "an engine answers in text")


def _check_tools(fields: Mapping[str, Any]) -> None:
    for position, tool in enumerate(fields.get("tools", ())):
        if tool["type"] != "function":
            raise _refused(f"tools[{position}].type", "an engine's tools are functions")
        where = f"tools[{position}].function.parameters"
        _check_schema(tool["function"].get("parameters"), where)
    choice = fields.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] != "function":
        message = "an engine knows none, auto, required, or one function"
        raise _refused("tool_choice", message)


def _check_forms(fields: Mapping[str, Any]) -> None:
    """Bound what the engine compiles: schemas and patterns."""
    form = fields.get("response_format", {})
    _check_schema(form.get("json_schema", {}).get("schema"), "response_format.json_schema.schema")
    outputs = fields.get("structured_outputs")
    if outputs is None:
        return
    if len(outputs) != 1:
        raise _refused("structured_outputs", "name exactly one constraint")
    _check_schema(outputs.get("json"), "structured_outputs.json")
    _check_repeats(outputs.get("regex", ""), "structured_outputs.regex")


def _check_schema(schema: object, param: str) -> None:
    _check_size(schema, param)
    if leads_nowhere(schema):
        raise _refused(param, "a `$ref` leads to itself and to nothing else")


def _check_size(schema: object, param: str) -> None:
    level, nodes = [schema], 0
    for _ in range(_MAX_SCHEMA_DEPTH):
        nodes += len(level)
        level = [child for node in level for child in _children(node, param)]
        if nodes > _MAX_SCHEMA_NODES:
            raise _refused(param, f"more than {_MAX_SCHEMA_NODES:,} values: make it smaller")
        if not level:
            return
    raise _refused(param, f"nested deeper than {_MAX_SCHEMA_DEPTH} levels: make it flatter")


def _children(node: object, param: str) -> Iterable[object]:
    if isinstance(node, list):
        return node
    if not isinstance(node, dict):
        return ()
    pattern = node.get("pattern")
    if isinstance(pattern, str):
        _check_repeats(pattern, f"{param} (pattern)")
    for name in _COUNTING:
        count = node.get(name)
        if isinstance(count, int | float) and count > _MAX_REPEATS:
            raise _refused(f"{param} ({name})", f"at most {_MAX_REPEATS:,}")
    return node.values()


def _check_repeats(pattern: str, param: str) -> None:
    """Refuse a pattern that stands for a far longer one: `(a{99}){99}`."""
    if len(pattern) > _MAX_PATTERN_CHARS * 10:
        raise _refused(param, f"longer than {_MAX_PATTERN_CHARS * 10:,} characters")
    repeats = 1
    for found in _COUNT.finditer(pattern):
        # Seven digits say enough: a number of ten thousand digits is never read.
        counts = [int(count.lstrip("0")[:7] or 0) for count in found.groups() if count]
        repeats *= max([1, *counts])
        if repeats > _MAX_REPEATS:
            raise _refused(param, f"repeats over {_MAX_REPEATS:,} times: use smaller counts")


def _refused(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param[:128]}: {reason}", param=param[:128], code="unsupported_field")
