"""Tokens over HTTP, and what they open."""

import httpx
from gateway_support import Service, client_of


async def test_basic_and_body(nobody: httpx.AsyncClient, service: Service) -> None:
    grant = {"grant_type": "client_credentials"}
    id_, secret = service.client.client_id, service.client.client_secret
    basic = await nobody.post("/oauth/token", data=grant, auth=(id_, secret))
    body = await nobody.post(
        "/oauth/token", data=grant | {"client_id": id_, "client_secret": secret}
    )
    for answer in (basic, body):
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        token = answer.json()
        assert token["token_type"].lower() == "bearer"
        assert 0 < token["expires_in"] <= 3600
        async with client_of(service, token["access_token"]) as http:
            assert (await http.get("/v1/models")).status_code == 200


async def test_refusals_speak_oauth(nobody: httpx.AsyncClient, service: Service) -> None:
    answer = await nobody.post(
        "/oauth/token", data={"grant_type": "client_credentials"}, auth=("app", "wrong")
    )
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_client"
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert (await nobody.post("/oauth/token", json={})).json()["error"] == "invalid_request"
    assert (await nobody.get("/oauth/token")).status_code == 405


async def test_a_token_of_another_issuer_is_foreign(
    nobody: httpx.AsyncClient, service: Service
) -> None:
    grant = {"grant_type": "client_credentials"}
    auth = (service.client.client_id, service.client.client_secret)
    token = (await nobody.post("/oauth/token", data=grant, auth=auth)).json()["access_token"]
    head, payload, signature = token.split(".")
    forged = ".".join([head, payload, signature[:-4] + "AAAA"])
    async with client_of(service, forged) as http:
        assert (await http.get("/v1/models")).status_code == 401


async def test_documents(nobody: httpx.AsyncClient, service: Service) -> None:
    for name in ("oauth-authorization-server", "openid-configuration"):
        document = (await nobody.get(f"/.well-known/{name}")).json()
        assert document["issuer"] == service.url
        assert document["token_endpoint"] == f"{service.url}/oauth/token"
    resource = (await nobody.get("/.well-known/oauth-protected-resource")).json()
    assert resource["authorization_servers"] == [service.url]
    keys = (await nobody.get("/oauth/jwks")).json()["keys"]
    assert all(key["kid"] and "d" not in key for key in keys)
