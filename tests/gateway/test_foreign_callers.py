"""Users of a foreign issuer, over HTTP."""

import time
from typing import Any

import httpx
from gateway_support import AWAY, Service, client_of
from issuer_support import Issuer

NAMED = {"message": "When does the office open?", "session_id": "mine"}


def token_of(issuer: Issuer, user: str, **claims: Any) -> str:
    """A token as Keycloak gives one to a user of its portal."""
    now = int(time.time())
    given = {"iss": issuer.url, "aud": "naru", "sub": user, "azp": "portal", "scope": "chat"}
    return issuer.sign(given | {"iat": now, "exp": now + 300, "typ": "Bearer"} | claims)


def user_of(service: Service, issuer: Issuer, user: str, **claims: Any) -> httpx.AsyncClient:
    return client_of(service, token_of(issuer, user, **claims))


async def test_each_user_has_sessions_of_his_own(service: Service, issuer: Issuer) -> None:
    async with user_of(service, issuer, "ann") as ann, user_of(service, issuer, "bo") as bo:
        answer = await ann.post("/v1/agents/hr/chat", json=NAMED)
        assert answer.status_code == 200, answer.text
        assert (await ann.get("/v1/sessions/mine")).status_code == 200
        assert (await bo.get("/v1/sessions/mine")).status_code == 404
        assert (await bo.get("/v1/sessions")).json()["data"] == []


async def test_a_user_can_not_name_another(service: Service, issuer: Issuer) -> None:
    async with user_of(service, issuer, "bo") as bo:
        answer = await bo.get("/v1/sessions/mine", headers={"x-naru-end-user": "ann"})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "x-naru-end-user"


async def test_only_mapped_words_open_anything(service: Service, issuer: Issuer) -> None:
    async with user_of(service, issuer, "cy", scope="openid profile") as cy:
        answer = await cy.get("/v1/sessions")
        assert answer.status_code == 403
        assert 'scope="agents"' in answer.headers["www-authenticate"]
    async with user_of(service, issuer, "cy", scope="chat admin") as cy:
        assert (await cy.get("/v1/vector_stores")).status_code == 403


async def test_a_forged_token_is_a_401_and_an_issuer_that_is_away_a_503(
    service: Service, issuer: Issuer
) -> None:
    async with client_of(service, token_of(issuer, "ann") + "AA") as forger:
        answer = await forger.get("/v1/sessions")
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    async with user_of(service, issuer, "ann", iss=AWAY) as early:
        answer = await early.get("/v1/sessions")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"]["code"] == "issuer_unavailable"
