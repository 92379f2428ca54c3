"""Client authentication with a secret: RFC 6749 sections 2.3 and 5.2, alike on all endpoints."""

import base64
import datetime as dt
from typing import Any

import httpx
import pytest
from oauth_support import ASSERTION_TYPE, ENDPOINTS, FORM, GRANT, Registered, Site, error_of, seen

FORMS = {
    "/oauth/token": GRANT,
    "/oauth/revoke": {"token": "unknown"},
    "/oauth/introspect": {"token": "unknown"},
}
EVERYWHERE = pytest.mark.parametrize("endpoint", ENDPOINTS)


async def send(
    site: Site, endpoint: str, parameters: dict[str, str] | None = None, **request: Any
) -> httpx.Response:
    return await site.http.post(endpoint, data=FORMS[endpoint] | (parameters or {}), **request)


def basic(client_id: str, secret: str) -> dict[str, str]:
    encoded = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"authorization": f"Basic {encoded}"}


def percent(text: str) -> str:
    """Encode every character, as RFC 6749 appendix B allows."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


@EVERYWHERE
async def test_rfc6749_2_3_1_a_client_may_use_basic_or_the_body(
    client: Registered, endpoint: str
) -> None:
    assert (await send(client.site, endpoint, auth=client.basic)).status_code == 200
    assert (await send(client.site, endpoint, client.body)).status_code == 200


async def test_rfc6749_appendix_b_basic_is_form_urlencoded(client: Registered) -> None:
    site = client.site
    encoded = basic(percent(client.id), percent(client.secret))
    assert (await send(site, "/oauth/token", headers=encoded)).status_code == 200
    digest = site.box.digest("a b+c:한글")
    await site.identity.execute(
        "UPDATE client_secrets SET hash = $2 WHERE client = $1", client.id, digest
    )
    plus = basic(client.id, "a+b%2Bc%3A%ED%95%9C%EA%B8%80")
    assert (await send(site, "/oauth/token", headers=plus)).status_code == 200
    literal = basic(client.id, "a%2Bb%2Bc%3A%ED%95%9C%EA%B8%80")
    assert (await send(site, "/oauth/token", headers=literal)).status_code == 401


@EVERYWHERE
async def test_rfc6749_2_3_one_method_per_request(client: Registered, endpoint: str) -> None:
    asserted = {"client_assertion": "a.b.c", "client_assertion_type": ASSERTION_TYPE}
    for parameters, credentials in (
        (client.body, client.basic),
        (asserted, client.basic),
        (client.body | asserted, None),
    ):
        answer = await send(client.site, endpoint, parameters, auth=credentials)
        assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


@EVERYWHERE
async def test_rfc9110_5_3_one_authorization_header(client: Registered, endpoint: str) -> None:
    twice = [*basic(*client.basic).items()] * 2
    answer = await client.site.http.post(endpoint, data=FORMS[endpoint], headers=twice)
    assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


@EVERYWHERE
async def test_a_client_id_in_the_body_is_the_one_that_authenticates(
    client: Registered, endpoint: str
) -> None:
    same = await send(client.site, endpoint, {"client_id": client.id}, auth=client.basic)
    assert same.status_code == 200
    answer = await send(client.site, endpoint, {"client_id": "another"}, auth=client.basic)
    assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


@EVERYWHERE
async def test_rfc6749_5_2_401_with_a_challenge_where_basic_failed(
    client: Registered, endpoint: str
) -> None:
    answer = await send(client.site, endpoint, auth=(client.id, "wrong"))
    assert (answer.status_code, error_of(answer)) == (401, "invalid_client")
    (challenge,) = answer.headers.get_list("www-authenticate")
    assert challenge.startswith("Basic ")


@EVERYWHERE
async def test_an_unknown_client_and_a_wrong_secret_are_answered_with_the_same_bytes(
    client: Registered, endpoint: str
) -> None:
    """That the work is the same too is shown in `tests/auth/test_client_auth.py`."""
    site = client.site
    disabled = await site.register(disabled_at=dt.datetime.now(dt.UTC))
    limited = await site.register(auth_methods=["client_secret_post"])
    answers = [
        await send(site, endpoint, auth=(client.id, "wrong")),
        await send(site, endpoint, auth=("nobody", client.secret)),
        await send(site, endpoint, auth=("no/body", client.secret)),
        await send(site, endpoint, auth=(client.id, "")),
        await send(site, endpoint, auth=disabled.basic),
        await send(site, endpoint, auth=limited.basic),
        await send(site, endpoint, headers={"authorization": "Basic %%%"}),
        await send(site, endpoint, headers={"authorization": "Bearer abc"}),
        await send(site, endpoint, headers={b"authorization": b"Basic \xff\xfe"}),
        await send(site, endpoint, headers=basic(client.id, "%FF")),
        await send(site, endpoint, client.body | {"client_secret": "wrong"}),
        await send(site, endpoint, client.body | {"client_id": "nobody"}),
        await send(site, endpoint, {"client_id": client.id}),
        await send(site, endpoint),
    ]
    first, *others = map(seen, answers)
    assert error_of(answers[0]) == "invalid_client"
    assert others == [first] * len(others)


async def test_a_client_of_a_disabled_tenant_is_unknown(site: Site) -> None:
    await site.identity.execute(
        "INSERT INTO tenants (id, name, disabled_at) VALUES ('gone', 'Gone', now())"
    )
    client = await site.register("gone")
    answer = await client.ask()
    assert (answer.status_code, error_of(answer)) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("method", "refused"),
    [("client_secret_basic", "body"), ("client_secret_post", "basic"), ("private_key_jwt", "both")],
)
async def test_rfc7591_2_a_client_uses_the_methods_it_is_registered_for(
    site: Site, method: str, refused: str
) -> None:
    client = await site.register(auth_methods=[method])
    by_basic = await send(site, "/oauth/token", auth=client.basic)
    by_body = await send(site, "/oauth/token", client.body)
    assert by_basic.status_code == (401 if refused in {"basic", "both"} else 200)
    assert by_body.status_code == (401 if refused in {"body", "both"} else 200)


@EVERYWHERE
@pytest.mark.parametrize(
    "name", ["client_secret", "client_id", "client_assertion", "token", "client%5Fsecret"]
)
async def test_rfc6749_2_3_1_credentials_never_stand_in_the_url(
    client: Registered, endpoint: str, name: str
) -> None:
    url = f"{endpoint}?{name}=x"
    answer = await client.site.http.post(url, data=FORMS[endpoint], auth=client.basic)
    assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


@EVERYWHERE
@pytest.mark.parametrize(
    "body",
    [
        b"client_secret=\xff",
        b"client_secret=%FF",
        b"client_id=a%00b",
        b"\xed\xa0\x80=x",
        b"client_id=a&client_id=a",
        b"client_secret=a&client_secret=b",
        b"grant_type=client_credentials&token=a&grant_type=client_credentials&token=a",
    ],
)
async def test_rfc6749_3_2_parameters_are_utf_8_without_nul_and_stand_once(
    site: Site, endpoint: str, body: bytes
) -> None:
    answer = await site.http.post(endpoint, content=body, headers={"content-type": FORM})
    assert (answer.status_code, error_of(answer)) == (400, "invalid_request")
