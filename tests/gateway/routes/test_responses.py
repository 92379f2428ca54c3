"""`/v1/responses` in front of hosted models: answers, streams, tools, state."""

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from openai_schema import faults
from responses_support import PATH, check_stream, events_of, make, make_stream, text_of
from upstream_support import DONE, HI, ROLE, STOP, Upstream, json_answer

MODEL = "fake/gpt-x"
WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}


FILE_URL = {"type": "input_file", "file_url": "https://example.com/a.pdf"}


def chunk(delta: dict[str, Any], **more: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta, **more}]}).encode() + b"\n\n"


def completion(message: dict[str, Any], finish: str = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}], **more}).encode()


def says(upstream: Upstream, text: str) -> None:
    body = completion({"content": text})
    upstream.answer = lambda _: json_answer(body)


def asked(upstream: Upstream) -> list[dict[str, Any]]:
    messages = upstream.asked[-1]["messages"]
    assert isinstance(messages, list)
    return messages


async def test_a_string_is_answered(http: httpx.AsyncClient, upstream: Upstream) -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    body = completion({"content": "hi"}, usage=usage, model="gpt-x-1", service_tier="default")
    upstream.answer = lambda _: json_answer(body)
    answer = await http.post(
        PATH,
        json={"model": "smart", "input": "hello", "instructions": "Be brief.", "temperature": 0.5},
    )
    response = answer.json()
    assert not faults(response, "Response")
    assert answer.headers["x-naru-target"] == MODEL
    assert "down/x" in answer.headers["x-naru-fallback-reason"]
    assert (response["status"], response["model"], text_of(response)) == (
        *("completed", "gpt-x-1", "hi"),
    )
    assert response["usage"] == {
        "input_tokens": 9,
        "output_tokens": 4,
        "total_tokens": 13,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    sent = upstream.asked[-1]
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
    ]
    assert sent["temperature"] == 0.5
    assert "store" not in sent


async def test_a_stream_tells_the_same(http: httpx.AsyncClient, upstream: Upstream) -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}\n\n'
    upstream.stream(
        ROLE,
        chunk({"reasoning": "let me "}),
        chunk({"reasoning": "see"}),
        HI,
        chunk({"content": " there"}),
        STOP,
        usage,
        DONE,
    )
    events = await make_stream(http, model="smart", input="hello")
    response = check_stream(events)
    assert [event["type"].removeprefix("response.") for event in events] == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added"),
        *("reasoning_text.delta", "reasoning_text.delta", "reasoning_text.done"),
        *("content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta", "output_text.done"),
        *("content_part.done", "output_item.done"),
        "completed",
    ]
    thought, said = response["output"]
    assert thought["content"] == [{"type": "reasoning_text", "text": "let me see"}]
    assert said["content"][0]["text"] == "hi there"
    assert response["usage"]["total_tokens"] == 13
    stored = (await http.get(f"{PATH}/{response['id']}")).json()
    assert stored == response


async def test_parallel_calls_and_their_outputs(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    upstream.stream(
        ROLE,
        chunk({"reasoning_content": "two cities"}),
        chunk({"tool_calls": [{"index": 0, **call}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"Seoul"}'}}]}),
        chunk({"tool_calls": [{"index": 1, **call, "id": "call_2"}]}),
        chunk({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}),
        chunk({}, finish_reason="tool_calls"),
        DONE,
    )
    body = {"model": MODEL, "tools": [WEATHER], "tool_choice": "required"}
    response = check_stream(await make_stream(http, **body, input="weather?"))
    sent = upstream.asked[-1]
    function = {name: value for name, value in WEATHER.items() if name != "type"}
    assert sent["tools"] == [{"type": "function", "function": function}]
    assert sent["tool_choice"] == "required"
    _, first, second = response["output"]
    assert (first["call_id"], first["arguments"]) == ("call_1", '{"city":"Seoul"}')
    assert (second["call_id"], second["arguments"]) == ("call_2", "{}")
    says(upstream, "sunny")
    outputs = [
        {"type": "function_call_output", "call_id": call["call_id"], "output": "sun"}
        for call in (first, second)
    ]
    await make(http, **body, input=outputs, previous_response_id=response["id"])
    user, assistant, *tools = asked(upstream)
    assert user == {"role": "user", "content": "weather?"}
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_1", "call_2"]
    assert "reasoning_content" not in assistant
    assert tools == [
        {"role": "tool", "tool_call_id": id_, "content": "sun"} for id_ in ("call_1", "call_2")
    ]


async def test_calls_that_a_server_numbers_alike_are_two(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    def call(id_: str, arguments: str) -> bytes:
        function = {"name": "weather", "arguments": arguments}
        return chunk({"tool_calls": [{"index": 0, "id": id_, "function": function}]})

    upstream.stream(ROLE, call("a", "{}"), call("b", '{"city":1}'), call("", "[]"), STOP, DONE)
    events = await make_stream(http, model=MODEL, tools=[WEATHER], input="weather?")
    first, second, third = check_stream(events)["output"]
    assert (first["call_id"], first["arguments"]) == ("a", "{}")
    assert (second["call_id"], second["arguments"]) == ("b", '{"city":1}')
    assert third["call_id"].startswith("call_")


async def test_a_chain_of_responses(
    http: httpx.AsyncClient, colleague: httpx.AsyncClient, upstream: Upstream
) -> None:
    last = None
    for n in range(3):
        says(upstream, f"answer {n}")
        given = {"previous_response_id": last} if last else {}
        response = await make(
            http, model=MODEL, input=f"question {n}", instructions=f"order {n}", **given
        )
        last = response["id"]
    assert [message["content"] for message in asked(upstream)] == [
        *("order 2", "question 0", "answer 0", "question 1", "answer 1", "question 2"),
    ]
    body = {"model": MODEL, "input": "x", "previous_response_id": last}
    foreign = await colleague.post(PATH, json=body)
    nothing = await colleague.post(PATH, json=body | {"previous_response_id": "resp_0"})
    assert foreign.status_code == nothing.status_code == 404
    assert foreign.json() == nothing.json()
    assert foreign.json()["error"]["code"] == "previous_response_not_found"


async def test_a_chain_with_a_gap_is_not_followed(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    says(upstream, "hi")
    first = await make(http, model=MODEL, input="one")
    second = await make(http, model=MODEL, input="two", previous_response_id=first["id"])
    assert (await http.delete(f"{PATH}/{first['id']}")).json()["deleted"] is True
    assert (await http.get(f"{PATH}/{first['id']}")).status_code == 404
    body = {"model": MODEL, "input": "three", "previous_response_id": second["id"]}
    answer = await http.post(PATH, json=body)
    assert answer.status_code == 404
    assert "is gone" in answer.json()["error"]["message"]


async def test_what_is_not_stored_is_not_there(http: httpx.AsyncClient, upstream: Upstream) -> None:
    says(upstream, "hi")
    response = await make(http, model=MODEL, input="one", store=False)
    assert (await http.get(f"{PATH}/{response['id']}")).status_code == 404
    body = {"model": MODEL, "input": "two", "previous_response_id": response["id"]}
    assert (await http.post(PATH, json=body)).status_code == 404


async def test_the_input_is_listed_in_pages(http: httpx.AsyncClient, upstream: Upstream) -> None:
    says(upstream, "hi")
    texts = ["a", "b", "c"]
    items = [{"role": "user", "content": text} for text in texts]
    response = await make(http, model=MODEL, input=items)
    path = f"{PATH}/{response['id']}/input_items"
    found: list[str] = []
    params = {"limit": "2", "order": "asc"}
    while True:
        page = (await http.get(path, params=params)).json()
        assert not faults(page, "ResponseItemList")
        found += [item["content"][0]["text"] for item in page["data"]]
        if not page["has_more"]:
            break
        params["after"] = page["last_id"]
    assert found == texts
    assert (await http.get(path, params={"after": "msg_0"})).status_code == 404
    newest = (await http.get(path)).json()["data"]
    assert [item["content"][0]["text"] for item in newest] == texts[::-1]


async def test_images_and_files_reach_the_model(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    says(upstream, "hi")
    png = "data:image/png;base64,iVBORw0KGgoAAAAA"
    upload = {"file": ("a.txt", b"annual leave", "text/plain")}
    file = (await http.post("/v1/files", files=upload)).json()["id"]
    content = [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": png, "detail": "original"},
        {"type": "input_file", "file_id": file},
    ]
    response = await make(http, model=MODEL, input=[{"role": "user", "content": content}])
    text, image, document = asked(upstream)[0]["content"]
    assert text == {"type": "text", "text": "see"}
    assert image == {"type": "image_url", "image_url": {"url": png, "detail": "original"}}
    url = "data:text/plain;base64,YW5udWFsIGxlYXZl"
    assert document == {"type": "file", "file": {"filename": "a.txt", "file_data": url}}
    listed = (await http.get(f"{PATH}/{response['id']}/input_items")).json()
    assert not faults(listed, "ResponseItemList")
    assert listed["data"][0]["content"][2]["file_id"] == file


async def test_anothers_file_is_not_there(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient, reader: httpx.AsyncClient
) -> None:
    file = (await http.post("/v1/files", files={"file": ("a.txt", b"x")})).json()["id"]
    content = [{"type": "input_file", "file_id": file}]
    body = {"model": MODEL, "input": [{"role": "user", "content": content}]}
    assert (await stranger.post(PATH, json=body)).status_code == 404
    refused = await reader.post(PATH, json=body)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "insufficient_scope"


async def test_json_that_fits_a_schema(http: httpx.AsyncClient, upstream: Upstream) -> None:
    says(upstream, '{"days":[15]}')
    schema = {"type": "object", "properties": {"days": {"type": "array"}}}
    form = {"type": "json_schema", "name": "days", "schema": schema, "strict": True}
    response = await make(http, model=MODEL, input="?", text={"format": form, "verbosity": "low"})
    told = {"name": "days", "schema": schema, "strict": True}
    assert upstream.asked[-1]["response_format"] == {"type": "json_schema", "json_schema": told}
    assert upstream.asked[-1]["verbosity"] == "low"
    assert response["text"]["format"] == form


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
        ("stop", "completed", None),
    ],
)
async def test_why_an_answer_ended(
    http: httpx.AsyncClient,
    upstream: Upstream,
    reason: str,
    status: str,
    details: dict[str, str] | None,
) -> None:
    upstream.stream(HI, chunk({}, finish_reason=reason), DONE)
    streamed = check_stream(await make_stream(http, model=MODEL, input="?", max_output_tokens=16))
    body = completion({"content": "hi"}, reason)
    upstream.answer = lambda _: json_answer(body)
    whole = await make(http, model=MODEL, input="?", max_output_tokens=16)
    assert upstream.asked[-1]["max_completion_tokens"] == 16
    for response in (streamed, whole):
        assert (response["status"], response["incomplete_details"]) == (status, details)
        assert response["output"][0]["status"] == status


async def test_a_refusal(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.stream(chunk({"refusal": "I "}), chunk({"refusal": "won't"}), STOP, DONE)
    response = check_stream(await make_stream(http, model=MODEL, input="?"))
    assert response["output"][0]["content"] == [{"type": "refusal", "refusal": "I won't"}]


async def test_logprobs_when_they_are_asked_for(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    token = {"token": "hi", "logprob": -0.5, "bytes": None}
    told = {"content": [token | {"top_logprobs": [token]}]}
    upstream.stream(chunk({"content": "hi"}, logprobs=told), STOP, DONE)
    body = {"model": MODEL, "input": "?", "include": ["message.output_text.logprobs"]}
    response = check_stream(await make_stream(http, **body, top_logprobs=1))
    assert upstream.asked[-1]["logprobs"] is True
    (found,) = response["output"][0]["content"][0]["logprobs"]
    assert found["bytes"] == [104, 105]


NOT_SERVED: Sequence[tuple[dict[str, Any], str]] = [
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"context_management": [{"type": "compaction"}]}, "context_management"),
    ({"moderation": {}}, "moderation"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"type": "code_interpreter", "container": "c"}]}, "tools[0].type"),
    ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
    ({"include": ["web_search_call.results"]}, "include[0]"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
    ({"input": [{"type": "computer_call", "id": "x"}]}, "input[0].type"),
    ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0]"),
    ({"input": [{"role": "assistant", "content": [{"type": "input_image", "file_id": "f"}]}]}, ""),
    ({"messages": []}, "messages"),
    ({"n": 2}, "n"),
    ({"background": True, "store": False}, "background"),
    ({"conversation": "c", "previous_response_id": "r"}, "previous_response_id"),
    ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
    ({"stream_options": {"include_obfuscation": True}, "stream": True}, "stream_options"),
    ({"max_output_tokens": 1}, "max_output_tokens"),
    ({"temperature": 3}, "temperature"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
    ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
    ({"text": {"tone": "warm"}}, "text.tone"),
    ({"prompt_cache_options": {"mode": "explicit"}}, "prompt_cache_options"),
    ({"tools": [WEATHER | {"defer_loading": True}]}, "tools[0].defer_loading"),
    ({"tools": [WEATHER | {"output_schema": {}}]}, "tools[0].output_schema"),
    ({"tools": [WEATHER | {"allowed_callers": 0}]}, "tools[0].allowed_callers"),
    ({"input": [{"role": "user", "content": [FILE_URL]}]}, "input[0].content[0]"),
    ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
    ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
    ({"truncation": "middle"}, "truncation"),
    ({"input": ""}, "input"),
    ({"input": None}, "input"),
]


@pytest.mark.parametrize(("fields", "param"), NOT_SERVED)
async def test_what_is_not_served_is_refused_by_name(
    http: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    answer = await http.post(PATH, json={"model": MODEL, "input": "?"} | fields)
    assert answer.status_code == 400, answer.text
    assert (answer.json()["error"]["param"] or "").startswith(param)


async def test_unknown_models(http: httpx.AsyncClient) -> None:
    for body in ({"background": True}, {"stream": True}, {}):
        answer = await http.post(PATH, json={"model": "nothing", "input": "?", **body})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_model_without_a_language_model_says_so(http: httpx.AsyncClient) -> None:
    answer = await http.post(PATH, json={"model": "falls-back", "input": "hello"})
    assert answer.json()["error"]["code"] in (
        "upstream_unreachable",
        "target_rests",  # another test has asked it too often
        "no_language_model",
    )


async def test_a_long_conversation_is_shortened_where_that_is_allowed(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    async def answer(request: Any) -> Any:
        body = json.loads(await request.read())
        if len(body["messages"]) > 4:
            error = {"message": "too long", "code": "context_length_exceeded"}
            return await json_answer(json.dumps({"error": error}).encode(), 400)
        return await json_answer(completion({"content": "hi"}))

    upstream.answer = answer
    items = [{"role": "system", "content": "order"}]
    for n in range(8):
        items += [
            {"role": "user", "content": f"q{n}"},
            {"role": "assistant", "content": f"a{n}"},
        ]
    items.append({"role": "user", "content": "last"})
    body = {"model": MODEL, "input": items}
    refused = await http.post(PATH, json=body)
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    await make(http, **body, truncation="auto")
    assert [message["content"] for message in asked(upstream)] == ["order", "q7", "a7", "last"]


async def test_extra_fields_are_judged_as_on_chat_completions(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    says(upstream, "hi")
    await make(http, model=MODEL, input="?", seed=3, a_new_field={"x": 1})
    assert upstream.asked[-1]["seed"] == 3
    assert upstream.asked[-1]["a_new_field"] == {"x": 1}


async def test_errors_before_the_first_event_have_a_status(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    body = b'{"error":{"message":"no","type":"x","param":"temperature","code":null}}'
    upstream.answer = lambda _: json_answer(body, 400)
    for stream in (False, True):
        answer = await http.post(PATH, json={"model": MODEL, "input": "?", "stream": stream})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "no"


async def test_a_broken_stream_fails_in_band_and_is_kept(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.stream(ROLE, HI)
    events = await make_stream(http, model=MODEL, input="?")
    response = check_stream(events)
    assert events[-1]["type"] == "response.failed"
    assert response["error"]["code"] == "server_error"
    assert "broke off" in response["error"]["message"]
    assert response["output"][0]["status"] == "incomplete"
    assert text_of(response) == "hi"
    stored = (await http.get(f"{PATH}/{response['id']}")).json()
    assert stored == response
    body = {"model": MODEL, "input": "x", "previous_response_id": response["id"]}
    refused = await http.post(PATH, json=body)
    assert refused.json()["error"]["code"] == "previous_response_not_completed"


async def test_nonsense_in_an_answer_is_the_upstreams_fault(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    call = {"id": "c", "type": "function", "function": {"name": 3, "arguments": "{}"}}
    upstream.stream(HI, chunk({"tool_calls": [{"index": 0, **call}]}), STOP, DONE)
    response = check_stream(await make_stream(http, model="fake/odd", input="?"))
    assert response["error"]["code"] == "server_error"
    body = completion({"tool_calls": [call]})
    upstream.answer = lambda _: json_answer(body)
    answer = await http.post(PATH, json={"model": "fake/odd", "input": "?"})
    assert answer.json()["error"]["code"] == "upstream_invalid_answer"
    assert answer.status_code == 502


async def test_a_stream_can_be_taken_up_again(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.stream(ROLE, HI, chunk({"content": " there"}), STOP, DONE)
    events = await make_stream(http, model=MODEL, input="?")
    path = f"{PATH}/{events[-1]['response']['id']}"
    for after in (0, 4, len(events) - 2):
        again = await http.get(path, params={"stream": "true", "starting_after": after})
        assert events_of(again.text) == events[after + 1 :]
    whole = await http.get(path, params={"stream": "true"})
    assert events_of(whole.text) == events


async def test_a_response_that_was_not_streamed_ends_at_once(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    says(upstream, "hi")
    response = await make(http, model=MODEL, input="?")
    again = await http.get(f"{PATH}/{response['id']}", params={"stream": "true"})
    (event,) = events_of(again.text)
    assert event == {"type": "response.completed", "sequence_number": 0, "response": response}


async def test_only_what_is_in_the_background_is_cancelled(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    says(upstream, "hi")
    response = await make(http, model=MODEL, input="?")
    answer = await http.post(f"{PATH}/{response['id']}/cancel")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "not_in_background")


@pytest.mark.parametrize("name", ["input_tokens", "compact"])
async def test_what_is_not_served_is_missing(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.post(f"{PATH}/{name}", json={"model": "smart", "input": "hello"})
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_the_head_of_a_stream_comes_at_once(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    says(upstream, "hi")
    made = (await http.post(PATH, json={"model": "smart", "input": "hello"})).json()
    for asked in ({}, {"stream": "true"}):
        got = await http.get(f"{PATH}/{made['id']}", params=asked)
        head = await http.head(f"{PATH}/{made['id']}", params=asked)
        assert head.status_code == got.status_code
        assert head.headers["content-type"] == got.headers["content-type"]
        assert head.content == b""
    assert (await http.get("/v1/models")).status_code == 200
