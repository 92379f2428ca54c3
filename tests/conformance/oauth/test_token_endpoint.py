"""The token endpoint: RFC 6749 sections 3.2, 3.3, 4.4 and 5, RFC 8707."""

from collections.abc import AsyncIterator

import httpx
import pytest
from oauth_support import (
    ENDPOINTS,
    FORM,
    GRANT,
    OTHER_AUDIENCE,
    Registered,
    Site,
    error_of,
    parts_of,
    use,
)


async def test_rfc6749_5_1_a_token_is_answered_as_json_that_nobody_stores(
    client: Registered,
) -> None:
    answer = await client.ask()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    token = answer.json()
    assert token.pop("access_token")
    assert token == {"token_type": "Bearer", "expires_in": 900, "scope": "inference agents"}


async def test_rfc6749_4_4_3_there_is_no_refresh_token(client: Registered) -> None:
    assert "refresh_token" not in (await client.ask()).json()


async def test_rfc6749_4_4_the_token_opens_what_its_scope_says(client: Registered) -> None:
    assert (await use(client.site.http, await client.token())).status_code == 200
    assert (await use(client.site.other, await client.token())).status_code == 200
    limited = await client.token(scope="inference")
    assert (await use(client.site.http, limited)).status_code == 403


@pytest.mark.parametrize("form", [{}, {"grant_type": ""}])
async def test_rfc6749_5_2_a_missing_grant_type_is_an_invalid_request(
    client: Registered, form: dict[str, str]
) -> None:
    answer = await client.site.http.post("/oauth/token", data=form | client.body)
    assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


@pytest.mark.parametrize(
    "grant_type",
    [
        *("password", "authorization_code", "refresh_token", "implicit", "Client_Credentials"),
        *("urn:ietf:params:oauth:grant-type:jwt-bearer", " client_credentials", "한글"),
    ],
)
async def test_rfc6749_5_2_other_grants_are_unsupported(
    client: Registered, grant_type: str
) -> None:
    answer = await client.ask(grant_type=grant_type)
    assert (answer.status_code, error_of(answer)) == (400, "unsupported_grant_type")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_rfc6749_3_2_the_body_is_a_form(client: Registered, endpoint: str) -> None:
    everything = GRANT | {"token": "x"}
    post = client.site.http.post
    answers = [
        await post(endpoint, json=everything, auth=client.basic),
        await post(endpoint, data=everything, files={"x": b"x"}, auth=client.basic),
        await post(endpoint, content=b"grant_type=client_credentials&token=x", auth=client.basic),
        await post(endpoint, content=b"", headers={"content-type": FORM}, auth=client.basic),
    ]
    for answer in answers:
        assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_rfc6749_3_2_other_methods_than_post_are_405(
    site: Site, endpoint: str, method: str
) -> None:
    answer = await site.http.request(method, endpoint)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert error_of(answer) == "invalid_request"
    assert (await site.http.head(endpoint)).headers["allow"] == "POST"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_body_over_the_limit_is_refused_before_it_is_read(
    site: Site, endpoint: str
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 65_536

    for content in (b"x" * 65_537, parts()):
        form = {"content-type": FORM}
        answer = await site.http.post(endpoint, content=content, headers=form)
        assert answer.status_code == 413
        assert error_of(answer) == "invalid_request"


async def test_rfc6749_3_2_an_unknown_parameter_is_ignored(client: Registered) -> None:
    assert (await client.ask(unheard_of="x")).status_code == 200


async def test_rfc6749_3_2_a_parameter_without_a_value_counts_as_omitted(
    client: Registered,
) -> None:
    assert (await client.ask(scope="")).json()["scope"] == "inference agents"


async def test_rfc6749_3_3_an_omitted_scope_is_the_clients_default(site: Site) -> None:
    client = await site.register(default_scopes=["agents"])
    assert (await client.ask()).json()["scope"] == "agents"
    assert (await client.ask(scope="inference")).json()["scope"] == "inference"


@pytest.mark.parametrize("scope", ["knowledge", "agents knowledge", "admin", "unheard-of"])
async def test_rfc6749_5_2_a_scope_is_granted_whole_or_not_at_all(
    client: Registered, scope: str
) -> None:
    answer = await client.ask(scope=scope)
    assert (answer.status_code, error_of(answer)) == (400, "invalid_scope")


@pytest.mark.parametrize(
    "scope", [" agents", "agents ", "agents  inference", "agents\tinference", 'agents"', "에이전트"]
)
async def test_rfc6749_3_3_the_grammar_of_a_scope_is_checked(
    client: Registered, scope: str
) -> None:
    answer = await client.ask(scope=scope)
    assert (answer.status_code, error_of(answer)) == (400, "invalid_scope")


@pytest.mark.parametrize("named", [(), (0,), (1,), (0, 1), (1, 1)])
async def test_rfc8707_2_resource_chooses_the_audience(
    client: Registered, named: tuple[int, ...]
) -> None:
    site = client.site
    resources = [(site.issuer, OTHER_AUDIENCE)[index] for index in named]
    token = await client.token(resource=resources)
    _, claims = parts_of(token)
    chosen = list(dict.fromkeys(resources)) or [site.issuer]
    assert claims["aud"] == (chosen if len(chosen) > 1 else chosen[0])
    ours = site.issuer in chosen
    assert (await use(site.http, token)).status_code == (200 if ours else 401)


@pytest.mark.parametrize(
    "resource",
    [
        "https://unknown.example",
        "relative/path",
        "//no-scheme.example",
        f"{OTHER_AUDIENCE}#fragment",
        f"{OTHER_AUDIENCE}.evil.example",
        "한글",
    ],
)
async def test_rfc8707_2_an_unknown_or_malformed_resource_is_an_invalid_target(
    client: Registered, resource: str
) -> None:
    for resources in ([resource], [client.site.issuer, resource]):
        answer = await client.ask(resource=resources)
        assert (answer.status_code, error_of(answer)) == (400, "invalid_target")


async def test_every_answer_carries_a_request_id(client: Registered) -> None:
    answers: list[httpx.Response] = [await client.ask(), await client.ask(scope="unheard-of")]
    assert all(answer.headers["x-request-id"] for answer in answers)
