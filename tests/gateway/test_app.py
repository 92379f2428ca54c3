"""What holds on every route: authentication, error objects, request ids, the OpenAPI document."""

import asyncio
import re
import uuid

import httpx
import pytest
from gateway_support import Service

PUBLIC = {
    "/oauth/token",
    "/oauth/revoke",
    "/oauth/introspect",
    "/oauth/jwks",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-protected-resource",
    "/health/live",
    "/health/ready",
    "/metrics",
}


async def test_every_route_not_public_answers_401_without_a_token(
    nobody: httpx.AsyncClient,
) -> None:
    paths = (await nobody.get("/schema/openapi.json")).json()["paths"]
    assert len(paths) > 15
    for path, methods in paths.items():
        concrete = re.sub(r"\{[^}]*\}", "x", path)
        for method in methods:
            if path in PUBLIC:
                continue
            answer = await nobody.request(method, concrete, json={"nonsense": True})
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer ")
            assert "resource_metadata=" in answer.headers["www-authenticate"]
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_the_document_holds_every_route(nobody: httpx.AsyncClient, service: Service) -> None:
    paths = (await nobody.get("/schema/openapi.json")).json()["paths"]
    expected = {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/responses",
        "/v1/responses/{response_id}",
        "/v1/responses/{response_id}/cancel",
        "/v1/responses/{response_id}/input_items",
        "/v1/conversations",
        "/v1/conversations/{conversation_id}",
        "/v1/conversations/{conversation_id}/items",
        "/v1/conversations/{conversation_id}/items/{item_id}",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/agents",
        "/v1/agents/{name}",
        "/api/v1/compatibility/openai/v1/agents",
        "/api/v1/compatibility/openai/v1/agents/{agent_id}",
        "/api/v1/compatibility/openai/v1/agents/{agent_id}/chat/completions",
        "/v1/agents/{name}/rollback",
        "/v1/agents/{name}/versions",
        "/v1/agents/{name}/versions/{version}",
        "/v1/agents/{name}/aliases",
        "/v1/agents/{name}/aliases/{alias}",
        "/v1/agents/{name}/aliases/{alias}/rollback",
        "/v1/agents/{name}/chat",
        "/v1/agents/{name}/chat/completions",
        "/v1/sessions",
        "/v1/sessions/{session_id}",
        "/v1/sessions/{session_id}/fork",
        "/v1/sessions/{session_id}/messages",
        "/v1/sessions/{session_id}/messages/{message_id}/trace",
        "/v1/sessions/{session_id}/messages/{message_id}/replay",
        "/v1/sessions/{session_id}/messages/{message_id}",
        "/v1/sessions/{session_id}/messages/{message_id}/stream",
        "/v1/files",
        "/v1/files/{file_id}",
        "/v1/files/{file_id}/content",
        "/v1/vector_stores",
        "/v1/vector_stores/{store_id}",
        "/v1/vector_stores/{store_id}/files",
        "/v1/vector_stores/{store_id}/files/{file_id}",
        "/v1/vector_stores/{store_id}/files/{file_id}/content",
        "/v1/vector_stores/{store_id}/file_batches",
        "/v1/vector_stores/{store_id}/file_batches/{batch_id}",
        "/v1/vector_stores/{store_id}/file_batches/{batch_id}/cancel",
        "/v1/vector_stores/{store_id}/file_batches/{batch_id}/files",
        "/v1/vector_stores/{store_id}/search",
        "/v1/vector_stores/{store_id}/reindex",
        "/v1/vector_stores/{store_id}/sources",
        "/v1/vector_stores/{store_id}/sources/{source_id}",
        "/v1/vector_stores/{store_id}/sources/{source_id}/sync",
        "/admin/audit",
        "/admin/budgets",
        "/admin/budgets/{budget_id}",
        "/admin/feedback",
        "/admin/feedback/compare",
        "/v1/feedback",
        "/v1/feedback/{message_id}",
        "/admin/tenants",
        "/admin/tenants/{tenant_id}",
        "/admin/clients",
        "/admin/clients/{client_id}",
        "/admin/clients/{client_id}/secrets",
        "/admin/clients/{client_id}/secrets/{secret_id}",
        "/admin/clients/{client_id}/keys",
        "/admin/keys",
        "/admin/keys/{key_id}",
        "/admin/signing-keys",
        "/admin/signing-keys/{kid}",
        "/admin/limits",
        "/admin/limits/{limit_id}",
        *("/admin/usage", "/admin/usage/records", "/admin/usage/break-even"),
    }
    assert set(paths) == expected | PUBLIC
    token = paths["/oauth/token"]["post"]
    assert "application/x-www-form-urlencoded" in token["requestBody"]["content"]
    assert token["security"] == []
    chat = paths["/v1/chat/completions"]["post"]
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert "security" not in chat


async def test_every_reference_in_the_document_resolves(nobody: httpx.AsyncClient) -> None:
    document = await nobody.get("/schema/openapi.json")
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', document.text))
    assert "Error" in named
    assert named <= set(document.json()["components"]["schemas"])


async def test_the_document_is_made_once_for_all_who_ask_first(nobody: httpx.AsyncClient) -> None:
    asked = await asyncio.gather(*(nobody.get("/schema/openapi.json") for _ in range(3)))
    assert len({answer.text for answer in asked}) == 1
    assert "OAuthError" in asked[0].json()["components"]["schemas"]


async def test_the_page_needs_nothing_from_elsewhere(nobody: httpx.AsyncClient) -> None:
    page = await nobody.get("/schema")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text


@pytest.mark.parametrize(
    "authorization",
    ["Bearer nonsense", "Bearer sk-naru-nonsense", "Basic YTpi", "Bearer", "bearer  x", "x" * 9000],
)
async def test_wrong_credentials(nobody: httpx.AsyncClient, authorization: str) -> None:
    answer = await nobody.get("/v1/models", headers={"authorization": authorization})
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


async def test_a_missing_scope_is_403(reader: httpx.AsyncClient) -> None:
    answer = await reader.get("/v1/files")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "insufficient_scope"
    assert 'scope="knowledge"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "path", ["/health/live", "/.well-known/oauth-authorization-server", "/v1/models", "/v1/nothing"]
)
async def test_head_is_get_without_a_body(http: httpx.AsyncClient, path: str) -> None:
    got, head = await http.get(path), await http.head(path)
    changing = ("date", "x-request-id", "server-timing")
    assert head.status_code == got.status_code
    assert [each for each in head.headers.items() if each[0] not in changing] == [
        each for each in got.headers.items() if each[0] not in changing
    ]
    assert head.content == b""


async def test_head_of_what_has_no_get(http: httpx.AsyncClient, nobody: httpx.AsyncClient) -> None:
    bare, ordinary = await http.head("/v1/chat/completions"), await http.head("/v1/feedback")
    assert (bare.status_code, bare.headers["allow"]) == (405, "POST")
    assert (ordinary.status_code, ordinary.headers["allow"]) == (405, "POST")
    other = await http.delete("/v1/models")
    assert (other.status_code, other.headers["allow"]) == (405, "GET, HEAD")
    assert (await nobody.head("/v1/models")).status_code == 401


async def test_errors_of_the_router(nobody: httpx.AsyncClient) -> None:
    missing = await nobody.get("/v1/nothing")
    assert missing.status_code == 404
    assert set(missing.json()["error"]) == {"message", "type", "param", "code"}
    wrong = await nobody.put("/v1/models")
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "GET, HEAD"
    assert set(wrong.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-1.2_3", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("a b", False),
        ("é", False),
        ("", False),
    ],
)
async def test_request_ids(nobody: httpx.AsyncClient, given: str, kept: bool) -> None:
    for path in ("/health/live", "/v1/models", "/nowhere"):
        answer = await nobody.get(path, headers={"x-request-id": given.encode()})
        returned = answer.headers["x-request-id"]
        assert (returned == given) == kept
        if not kept:
            assert uuid.UUID(returned)


async def test_health(nobody: httpx.AsyncClient) -> None:
    assert (await nobody.get("/health/live")).json() == {"status": "live"}
    ready = await nobody.get("/health/ready")
    assert ready.json() == {"status": "ready", "degraded": []}


async def test_a_body_over_the_limit(http: httpx.AsyncClient) -> None:
    body = {"model": "hr", "messages": [{"role": "user", "content": "x" * 2_100_000}]}
    answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 413
    assert "2,000,000 bytes" in answer.json()["error"]["message"]


JSON_ROUTES = ["/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/v1/agents"]


@pytest.mark.parametrize("path", JSON_ROUTES)
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "a JSON object is required as body"),
        (b'{"model":"\\ud83d"}', "surrogate pair"),
        (b'{"model":', "the body ends within its JSON"),
        (b'{"model":1e999}', "a number is out of range"),
    ],
)
async def test_a_body_that_is_not_json_is_told_what_is_wrong(
    http: httpx.AsyncClient, path: str, body: bytes, says: str
) -> None:
    answer = await http.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert says in message
    assert "$" not in message


@pytest.mark.parametrize("path", [*JSON_ROUTES, "/v1/files", "/oauth/token"])
async def test_a_compressed_body_is_415(http: httpx.AsyncClient, path: str) -> None:
    packed = {"content-encoding": "gzip", "content-type": "application/json"}
    answer = await http.post(path, content=b"\x1f\x8b\x08\0", headers=packed)
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    plain = {"content-encoding": "identity"}
    assert (await http.post(path, content=b"{}", headers=plain)).status_code != 415


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([b'filename="a"', b'filename="b"'], "file: it is there several times: send one"),
        ([b"filename*=UTF-8''a"], "file: it is a text: a file has a `filename`"),
    ],
)
async def test_an_upload_of_a_wrong_form(
    http: httpx.AsyncClient, parts: list[bytes], says: str
) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; %b\r\n\r\na\r\n'
    form = b"".join(head % part for part in parts) + b"--x--\r\n"
    named = {"content-type": "multipart/form-data; boundary=x"}
    answer = await http.post("/v1/files", content=form, headers=named)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(says)
