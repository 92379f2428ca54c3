"""Credentials on the way from HTTP to the verifier."""

import json
import time
import uuid
from pathlib import Path

import httpx
import pytest
import redis.asyncio
from gateway_support import Service
from joserfc import jws
from joserfc.jwk import ECKey

import auth
from auth.dpop import token_hash
from auth.revocations import record_key
from auth.token import issue
from config.postgres import open_pool
from config.settings import AuthSettings

METADATA = "/.well-known/oauth-protected-resource"
HOLDER = ECKey.generate_key("P-256")


def error_of(answer: httpx.Response) -> dict[str, str | None]:
    return dict(answer.json()["error"])


async def test_without_credentials_there_is_one_challenge_without_an_error(
    service: Service, nobody: httpx.AsyncClient
) -> None:
    answer = await nobody.get("/v1/models")
    (challenge,) = answer.headers.get_list("www-authenticate")
    assert answer.status_code == 401
    assert challenge.startswith(f'Bearer realm="naru", resource_metadata="{service.url}{METADATA}"')
    assert 'DPoP algs="ES256' in challenge
    assert "error" not in challenge


async def test_two_authorization_headers_are_an_invalid_request(
    service: Service, nobody: httpx.AsyncClient
) -> None:
    twice = [("authorization", f"Bearer {service.key}")] * 2
    answer = await nobody.get("/v1/models", headers=twice)
    (challenge,) = answer.headers.get_list("www-authenticate")
    assert answer.status_code == 400
    assert 'error="invalid_request"' in challenge
    assert error_of(answer)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "named", [[b""], [b"a b"], [b"\xff"], ["한".encode()], [b"x" * 257], [b"a", b"a"]]
)
async def test_a_malformed_end_user_is_named_as_the_parameter_at_fault(
    http: httpx.AsyncClient, named: list[bytes]
) -> None:
    headers = [*http.headers.raw, *((b"x-naru-end-user", value) for value in named)]
    answer = await http.get("/v1/models", headers=headers)
    assert answer.status_code == 400
    assert "www-authenticate" not in answer.headers
    assert error_of(answer) == error_of(answer) | {
        "param": "x-naru-end-user",
        "code": "invalid_end_user",
        "type": "invalid_request_error",
    }


async def test_a_well_formed_end_user_is_served(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/models", headers={"x-naru-end-user": "user-123%20x"})
    assert answer.status_code == 200


@pytest.mark.parametrize("token", ["é", "\xff" * 50, "x" * 60_000, "a.b.c", "sk-naru-"])
async def test_any_token_is_answered_401(nobody: httpx.AsyncClient, token: str) -> None:
    raw = {b"authorization": b"Bearer " + token.encode("latin-1")}
    answer = await nobody.get("/v1/models", headers=raw)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert error_of(answer)["code"] == "invalid_token"


@pytest.fixture
async def bound(service: Service, data_dir: Path) -> str:
    """A token of the client `app` that only the holder of `HOLDER` may use."""
    async with await open_pool(service.database, size=1, role="naru_auth") as pool:
        box = auth.SecretBox.load(AuthSettings(), data_dir)
        keys = await auth.SigningKeys.load(pool, box, AuthSettings())
        client = await auth.find_client(pool, "app")
        assert client is not None
        return issue(
            keys,
            issuer=service.url,
            audience=service.url,
            client=client,
            scope="inference",
            ttl_s=60,
            jkt=HOLDER.thumbprint(),
        )


def prove(text: str, url: str, nonce: str | None, method: str = "GET") -> str:
    claims = {"jti": uuid.uuid4().hex, "htm": method, "htu": url, "iat": int(time.time())}
    claims |= {"ath": token_hash(text)} | ({"nonce": nonce} if nonce else {})
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": HOLDER.as_dict(private=False)}
    registry = jws.JWSRegistry(algorithms=["ES256"])
    return jws.serialize_compact(header, json.dumps(claims), HOLDER, registry=registry)


async def test_a_proof_is_checked_against_the_public_url_whatever_host_says(
    service: Service, nobody: httpx.AsyncClient, bound: str
) -> None:
    async def ask(url: str, nonce: str | None, host: str = "elsewhere.example") -> httpx.Response:
        headers = {"authorization": f"DPoP {bound}", "dpop": prove(bound, url, nonce), "host": host}
        return await nobody.get("/v1/models?x=1", headers=headers)

    url = f"{service.url}/v1/models"
    first = await ask(url, None)
    assert first.status_code == 401
    assert first.headers["www-authenticate"].startswith('DPoP realm="naru", error="use_dpop_nonce"')
    nonce = first.headers["dpop-nonce"]
    assert (await ask(url, nonce)).status_code == 200
    elsewhere = await ask("https://elsewhere.example/v1/models", nonce)
    assert elsewhere.status_code == 401
    assert error_of(elsewhere)["code"] == "invalid_dpop_proof"


async def test_a_proof_of_a_head_request_names_it(
    service: Service, nobody: httpx.AsyncClient, bound: str
) -> None:
    async def ask(method: str, nonce: str | None) -> httpx.Response:
        proof = prove(bound, f"{service.url}/v1/models", nonce, method)
        headers = {"authorization": f"DPoP {bound}", "dpop": proof}
        return await nobody.head("/v1/models", headers=headers)

    nonce = (await ask("HEAD", None)).headers["dpop-nonce"]
    assert (await ask("HEAD", nonce)).status_code == 200
    assert (await ask("GET", nonce)).status_code == 401


async def test_a_key_disabled_elsewhere_is_refused_within_a_second(
    service: Service, nobody: httpx.AsyncClient, redis_url: str, data_dir: Path
) -> None:
    async with (
        await open_pool(service.database, size=1, role="naru_auth") as pool,
        redis.asyncio.from_url(redis_url) as cache,
    ):
        box = auth.SecretBox.load(AuthSettings(), data_dir)
        key = await auth.create_key(pool, box, "app")
        headers = {"authorization": f"Bearer {key.key}"}
        assert (await nobody.get("/v1/models", headers=headers)).status_code == 200
        await pool.execute("UPDATE api_keys SET disabled_at = now() WHERE id = $1", key.key_id)
        await record_key(pool, key.key_id)
        await auth.Announcer(cache).announce()
        deadline = time.monotonic() + 1.0
        while (await nobody.get("/v1/models", headers=headers)).status_code == 200:
            assert time.monotonic() < deadline
