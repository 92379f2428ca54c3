"""However a path, a method or a header is bent, no protected handler answers without credentials.

Over raw sockets: an HTTP client would straighten what is bent here.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from gateway_support import Service, client_of

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get")
HEADERS = (
    "Host:",
    "Host: health",
    "Host: localhost\r\nHost: evil.example",
    "Host: a b\x01",
    "Host: [::1",
    "X-HTTP-Method-Override: GET",
    "X-HTTP-Method: GET\r\nX-Method-Override: GET",
    "X-Original-URL: /health/live\r\nX-Rewrite-URL: /health/live",
    "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1",
    "X-Forwarded-Proto: https\r\nX-Forwarded-Host: localhost\r\nX-Forwarded-Prefix: /health",
    "X-Forwarded-Proto: wss",
    "Forwarded: for=127.0.0.1;host=localhost;proto=https",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13",
    "Authorization:",
    "Authorization: Bearer",
    "Authorization: Bearer a\r\nAuthorization: Bearer b",
    "Authorization: Bearer a, Bearer b",
    "Cookie: authorization=Bearer a",
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: str
    body: bytes


async def send(
    service: Service, method: str, target: str, headers: str = "Host: localhost", body: str = "{}"
) -> Answer:
    """Send these very bytes and return what comes back."""
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    line = f"{method} {target} HTTP/1.1\r\n"
    writer.write(f"{line}{headers}\r\n{length}Connection: close\r\n\r\n{body}".encode("latin-1"))
    async with asyncio.timeout(10):
        received = await reader.read()
    writer.close()
    head, _, content = received.partition(b"\r\n\r\n")
    status, _, fields = head.decode("latin-1").partition("\r\n")
    return Answer(int(status.split()[1]), fields.lower(), content)


@pytest.fixture(scope="session")
async def document(service: Service) -> dict[str, dict[str, dict]]:
    async with client_of(service, None) as nobody:
        return (await nobody.get("/schema/openapi.json")).json()["paths"]


@pytest.fixture
def protected(document: dict[str, dict], service: Service) -> list[tuple[str, str]]:
    """Method and path of every operation that is not public, of objects that exist."""
    ids = {"name": "hr", "model": "hr", "store_id": service.store}
    return [
        (method.upper(), re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], "x"), path))
        for path, methods in document.items()
        for method, operation in methods.items()
        if operation.get("security") != []
    ]


def bent(path: str) -> Iterator[str]:
    """The path written in ways that some router, proxy or filter takes for the same or another."""
    yield from (f"/{path}", f"//health/live/..{path}", path.replace("/", "//"))
    for detour in ("/.", "/v1/..", "/health/..", "/health/live/../..", "/oauth/token/../.."):
        yield detour + path
        yield detour.replace(".", "%2e") + path
        yield detour.replace(".", "%252e") + path
        yield detour.replace("/..", "/..;") + path
    for tail in ("/", "//", "/.", "/..", "/../", "%2f", "%5c", "%00", "%20", "%0d%0a", ".json"):
        yield path + tail
    for tail in (";a=b", ";/health/live", "?x=/health/live", "#/health/live", "/health/live"):
        yield path + tail
    yield from (path.upper(), path.title(), path.replace("v1", "%761").replace("m", "%6d"))
    yield from (path.replace("/", "%2f"), "/" + path[1:].replace("/", "%2F"))
    yield from (path.replace("/", "\\"), path.replace("/", "/\\"), path.replace("v1", "v1;x"))
    for authority in ("http://localhost", "http://health/live", "https://evil.example", "http:/"):
        yield authority + path
    yield from (f"http://health:80@localhost{path}", path[1:], "*", f"/health/live\t{path}")


def refused(answers: Iterable[tuple[object, Answer]]) -> None:
    for asked, answer in answers:
        assert 400 <= answer.status < 500, (asked, answer)
        assert b'"data"' not in answer.body, asked


async def test_the_routes_asked_here_answer_with_credentials(
    service: Service, protected: list[tuple[str, str]]
) -> None:
    assert len(protected) > 15
    key = f"Host: localhost\r\nAuthorization: Bearer {service.key}"
    for method, path in protected:
        if method == "DELETE":  # of objects that other tests need
            continue
        answer = await send(service, method, path, key)
        assert answer.status != 401, path
        assert answer.status < 500, path


async def test_no_spelling_of_a_path_opens_a_handler(
    service: Service, protected: list[tuple[str, str]]
) -> None:
    for method, path in protected:
        refused([(target, await send(service, method, target)) for target in bent(path)])


@pytest.mark.parametrize("path", ["/v1/agents/health/chat", "/v1/agents/oauth/chat/completions"])
async def test_a_public_word_in_a_path_opens_nothing(service: Service, path: str) -> None:
    assert (await send(service, "POST", path)).status == 401


async def test_no_method_opens_a_handler(
    service: Service, protected: list[tuple[str, str]]
) -> None:
    for path in sorted({path for _, path in protected}):
        refused([(method, await send(service, method, path)) for method in METHODS])
    refused([("CONNECT", await send(service, "CONNECT", "localhost:80"))])


async def test_no_header_opens_a_handler(
    service: Service, protected: list[tuple[str, str]]
) -> None:
    for method, path in protected:
        refused([(header, await send(service, method, path, header)) for header in HEADERS])


async def test_public_routes_bear_it_too(service: Service, document: dict[str, dict]) -> None:
    public = [path for path, methods in document.items() if "{" not in path]
    for path in public:
        for target in bent(path):
            assert (await send(service, "GET", target)).status < 500, target
        for method in METHODS:
            assert (await send(service, method, path)).status < 500, (method, path)
        for header in HEADERS:
            assert (await send(service, "GET", path, header)).status < 500, (header, path)


async def test_options_are_a_method_that_no_route_has(
    document: dict[str, dict], nobody: httpx.AsyncClient
) -> None:
    for path, methods in document.items():
        answer = await nobody.options(re.sub(r"\{\w+\}", "x", path))
        assert answer.status_code == 405, path
        allowed = {*map(str.upper, methods), *(["HEAD"] if "get" in methods else [])}
        assert answer.headers["allow"] == ", ".join(sorted(allowed)), path


async def test_another_method_or_url_in_a_header_is_not_followed(http: httpx.AsyncClient) -> None:
    file = (await http.post("/v1/files", files={"file": ("a.txt", b"x")})).json()
    path = f"/v1/files/{file['id']}"
    bends = {"x-http-method-override": "DELETE", "x-original-url": "/v1/models"}
    bends |= {"x-rewrite-url": "/v1/models", "x-forwarded-prefix": "/v1/models"}
    for method in ("GET", "POST"):
        await http.request(method, path, headers=bends)
    assert (await http.get(path, headers=bends)).json() == file
    assert (await http.delete(path)).status_code == 200


async def test_what_an_absolute_target_names_is_the_path_alone(service: Service) -> None:
    key = f"Host: localhost\r\nAuthorization: Bearer {service.key}"
    answer = await send(service, "GET", "http://evil.example/v1/models", key)
    assert answer.status == 200
    assert "default" in [model["id"] for model in json.loads(answer.body)["data"]]


async def test_a_second_authorization_header_is_refused_beside_a_good_one(
    service: Service,
) -> None:
    good, bad = f"Authorization: Bearer {service.key}", "Authorization: Bearer other"
    for pair in ((good, bad), (bad, good), (good, good)):
        headers = "\r\n".join(("Host: localhost", *pair))
        assert (await send(service, "GET", "/v1/models", headers)).status == 400
