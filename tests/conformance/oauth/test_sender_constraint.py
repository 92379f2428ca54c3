"""DPoP, RFC 9449: tokens that count only in the hands of who holds a key."""

import time
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey
from oauth_support import (
    GRANT,
    HOLDER,
    PROTECTED,
    Registered,
    Site,
    error_of,
    parts_of,
    prove,
    use,
)

from auth.dpop import token_hash

THIEF = ECKey.generate_key("P-256")


@pytest.fixture
async def bound(site: Site) -> Registered:
    """A client that is registered as sender-constrained."""
    return await site.register(dpop=True)


@pytest.fixture
async def nonce(site: Site, client: Registered) -> str:
    """A nonce of the service, got as RFC 9449 section 8 says."""
    answer = await ask(client, prove(f"{site.issuer}/oauth/token"))
    return str(answer.headers["dpop-nonce"])


async def ask(
    client: Registered, *proofs: str, http: httpx.AsyncClient | None = None
) -> httpx.Response:
    headers = [("dpop", proof) for proof in proofs]
    http = http or client.site.http
    return await http.post("/oauth/token", data=GRANT, auth=client.basic, headers=headers)


def for_token(site: Site, nonce: str, **claims: Any) -> str:
    return prove(f"{site.issuer}/oauth/token", nonce=nonce, **claims)


async def bound_token(client: Registered, nonce: str) -> str:
    answer = await ask(client, for_token(client.site, nonce))
    return str(answer.json()["access_token"])


async def send(
    http: httpx.AsyncClient, token: str, *proofs: str, scheme: str = "DPoP"
) -> httpx.Response:
    headers = [("authorization", f"{scheme} {token}"), *(("dpop", proof) for proof in proofs)]
    return await http.get(PROTECTED, headers=headers)


def for_use(site: Site, token: str, nonce: str, **changes: Any) -> str:
    claims = {"ath": token_hash(token), "nonce": nonce} | changes
    return prove(f"{site.issuer}{PROTECTED}", "GET", **claims)


async def test_rfc9449_5_a_constrained_client_gets_no_token_without_a_proof(
    bound: Registered,
) -> None:
    answer = await ask(bound)
    assert (answer.status_code, error_of(answer)) == (400, "invalid_dpop_proof")


async def test_rfc9449_8_the_nonce_to_use_is_told(site: Site, bound: Registered) -> None:
    answer = await ask(bound, prove(f"{site.issuer}/oauth/token"))
    assert (answer.status_code, error_of(answer)) == (400, "use_dpop_nonce")
    (nonce,) = answer.headers.get_list("dpop-nonce")
    # Whichever replica made it.
    assert (await ask(bound, for_token(site, nonce), http=site.other)).status_code == 200


async def test_rfc9449_5_the_token_is_of_type_dpop_and_bound_to_the_key(
    site: Site, bound: Registered, nonce: str
) -> None:
    answer = await ask(bound, for_token(site, nonce))
    assert answer.json()["token_type"] == "DPoP"
    _, claims = parts_of(answer.json()["access_token"])
    assert claims["cnf"] == {"jkt": HOLDER.thumbprint()}


async def test_rfc9449_5_any_client_may_ask_for_a_bound_token(
    site: Site, client: Registered, nonce: str
) -> None:
    answer = await ask(client, for_token(site, nonce))
    assert answer.json()["token_type"] == "DPoP"


async def test_rfc9449_4_3_there_is_one_proof(site: Site, bound: Registered, nonce: str) -> None:
    answer = await ask(bound, for_token(site, nonce), for_token(site, nonce))
    assert (answer.status_code, error_of(answer)) == (400, "invalid_dpop_proof")


@pytest.mark.parametrize(
    "change",
    [
        {"htm": "GET"},
        {"htu": "https://elsewhere.example/oauth/token"},
        {"iat": int(time.time()) - 600},
        {"iat": int(time.time()) + 600},
        {"iat": None},
        {"jti": None},
        {"htm": None},
        {"htu": None},
    ],
)
async def test_rfc9449_4_3_every_claim_of_the_proof_counts(
    site: Site, bound: Registered, nonce: str, change: dict[str, Any]
) -> None:
    answer = await ask(bound, for_token(site, nonce, **change))
    assert (answer.status_code, error_of(answer)) == (400, "invalid_dpop_proof")


@pytest.mark.parametrize("proof", ["", "x", "a.b.c", "x" * 9000, "é"])
async def test_rfc9449_4_3_any_proof_is_answered_in_good_order(
    bound: Registered, proof: str
) -> None:
    headers = {b"dpop": proof.encode("latin-1")}
    answer = await bound.site.http.post(
        "/oauth/token", data=GRANT, auth=bound.basic, headers=headers
    )
    assert (answer.status_code, error_of(answer)) == (400, "invalid_dpop_proof")


async def test_rfc9449_11_1_a_proof_counts_once_over_all_replicas(
    site: Site, bound: Registered, nonce: str
) -> None:
    proof = for_token(site, nonce)
    assert (await ask(bound, proof)).status_code == 200
    for http in (site.other, site.http):
        answer = await ask(bound, proof, http=http)
        assert (answer.status_code, error_of(answer)) == (400, "invalid_dpop_proof")


async def test_rfc9449_7_1_the_resource_wants_a_proof_for_this_token(
    site: Site, bound: Registered, nonce: str
) -> None:
    token = await bound_token(bound, nonce)
    assert (await send(site.http, token, for_use(site, token, nonce))).status_code == 200
    # Also when the token is known there already.
    for proofs in (
        [],
        [for_use(site, token, nonce, ath=None)],
        [for_use(site, token, nonce, ath=token_hash("another"))],
        [for_use(site, token, nonce, htm="POST")],
        [for_use(site, token, nonce, htu=site.issuer)],
        [for_use(site, token, nonce), for_use(site, token, nonce)],
    ):
        answer = await send(site.http, token, *proofs)
        assert answer.status_code == 401
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith("DPoP ")
        assert 'error="invalid_dpop_proof"' in challenge
        assert 'algs="' in challenge


async def test_rfc9449_7_1_a_stolen_token_is_worth_nothing(
    site: Site, bound: Registered, nonce: str
) -> None:
    token = await bound_token(bound, nonce)
    answer = await send(site.http, token, for_use(site, token, nonce, key=THIEF))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_rfc9449_7_2_a_bound_token_is_no_bearer_token(
    site: Site, bound: Registered, nonce: str
) -> None:
    token = await bound_token(bound, nonce)
    for http in (site.http, site.other):
        answer = await use(http, token)
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_rfc9449_7_1_a_bearer_token_is_no_bound_one(client: Registered, nonce: str) -> None:
    token = await client.token()
    answer = await send(client.site.http, token, for_use(client.site, token, nonce))
    assert answer.status_code == 401


async def test_rfc9449_9_the_resource_tells_its_nonce(
    site: Site, bound: Registered, nonce: str
) -> None:
    token = await bound_token(bound, nonce)
    answer = await send(site.http, token, for_use(site, token, nonce="stale"))
    assert answer.status_code == 401
    assert 'error="use_dpop_nonce"' in answer.headers["www-authenticate"]
    fresh = answer.headers["dpop-nonce"]
    assert (await send(site.other, token, for_use(site, token, fresh))).status_code == 200


async def test_rfc9449_11_1_a_proof_for_the_resource_counts_once(
    site: Site, bound: Registered, nonce: str
) -> None:
    token = await bound_token(bound, nonce)
    proof = for_use(site, token, nonce)
    assert (await send(site.http, token, proof)).status_code == 200
    assert (await send(site.other, token, proof)).status_code == 401
