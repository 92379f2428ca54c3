"""The OpenAPI document says of bodies what is true of them."""

from typing import Any

import httpx
import jsonschema
import pytest
from gateway_support import Service, client_of
from upstream_support import COMPLETION, Upstream, json_answer

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
AGENT = {"name": "a", "instructions": "", "model": "default", "vector_stores": ["vs_1"]}
BATCH = "/v1/vector_stores/{store_id}/file_batches"


class Document:
    """The served document, and what of a body does not fit it."""

    def __init__(self, served: dict[str, Any]) -> None:
        self.served = served

    def schema(self, method: str, path: str, status: str | None) -> dict[str, Any]:
        operation = self.served["paths"][path][method]
        body = operation["responses"][status] if status else operation["requestBody"]
        return body["content"]["application/json"]["schema"]

    def faults(self, body: object, method: str, path: str, status: str | None = None) -> list[str]:
        """Faults of an answer of that status, of a request without one."""
        schema = {
            **self.schema(method, path, status),
            "components": self.served["components"],
        }
        found = jsonschema.Draft202012Validator(schema).iter_errors(body)
        return [f"{fault.json_path}: {fault.message}" for fault in found]


@pytest.fixture(scope="session")
async def document(service: Service) -> Document:
    async with client_of(service, None) as nobody:
        return Document((await nobody.get("/schema/openapi.json")).json())


def test_types_of_one_name_are_told_apart(document: Document) -> None:
    schemas = document.served["components"]["schemas"]
    tools = {name: each for name, each in schemas.items() if name.endswith("FunctionTool")}
    assert sorted("function" in each["properties"] for each in tools.values()) == [False, True]
    chat_tool = {"type": "function", "function": {"name": "weather"}}
    chat = {"model": "a", "messages": [{"role": "user", "content": "a"}], "tools": [chat_tool]}
    asked = {"model": "a", "input": "a", "tools": [WEATHER]}
    assert not document.faults(chat, "post", "/v1/chat/completions")
    assert not document.faults(asked, "post", "/v1/responses")
    assert document.faults(chat | {"tools": [WEATHER]}, "post", "/v1/chat/completions")


async def test_responses_fit(
    http: httpx.AsyncClient, upstream: Upstream, document: Document
) -> None:
    upstream.answer = lambda _: json_answer(COMPLETION)
    asked = {"model": "smart", "input": "hello", "tools": [WEATHER], "tool_choice": "auto"}
    answer = (await http.post("/v1/responses", json=asked)).json()
    assert answer["tools"]
    assert not document.faults(answer, "post", "/v1/responses", "200")
    path = "/v1/responses/{response_id}"
    stored = (await http.get(path.format(response_id=answer["id"]))).json()
    assert not document.faults(stored, "get", path, "200")


async def test_conversations_fit(http: httpx.AsyncClient, document: Document) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    asked = {"items": [{"role": "user", "content": "a"}, call]}
    assert not document.faults(asked, "post", "/v1/conversations")
    made = (await http.post("/v1/conversations", json=asked)).json()
    assert not document.faults(made, "post", "/v1/conversations", "200")
    items = "/v1/conversations/{conversation_id}/items"
    listed = (await http.get(items.format(conversation_id=made["id"]))).json()
    assert len(listed["data"]) == 2
    assert not document.faults(listed, "get", items, "200")


@pytest.mark.parametrize(
    "changed",
    [
        {"vector_stores": "vs_1"},
        {"vector_stores": [1]},
        {"vector_stores": [""]},
        {"nonsense": 1},
        {"top_k": 51},
        {"variables": {"Not A Name": {"type": "string"}}},
        {"variables": {"a": {"type": "string", "choices": "b"}}},
    ],
)
async def test_the_document_refuses_what_the_gateway_does(
    http: httpx.AsyncClient, document: Document, changed: dict[str, Any]
) -> None:
    assert not document.faults(AGENT, "post", "/v1/agents")
    assert document.faults(AGENT | changed, "post", "/v1/agents")
    assert (await http.post("/v1/agents", json=AGENT | changed)).status_code == 400


def test_bounds_within_a_choice_are_told(document: Document) -> None:
    assert not document.faults({"file_ids": ["a"], "attributes": {"a": 1.5}}, "post", BATCH)
    assert document.faults({"file_ids": ["a" * 65]}, "post", BATCH)
    assert document.faults({"file_ids": ["a"], "attributes": {"a" * 65: 1}}, "post", BATCH)
