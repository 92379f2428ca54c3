"""DPoP proofs, RFC 9449 section 4.3 point by point."""

import base64
import contextlib
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

import auth
from auth import dpop
from auth.dpop import InvalidProof, NonceNeeded, Nonces, Proofs

URL = "https://naru.example/oauth/token"
KEY = ECKey.generate_key("P-256")
RSA = RSAKey.generate_key(2048)
Check = Callable[..., Awaitable[str]]


def public(key: Key) -> dict[str, Any]:
    return dict(key.as_dict(private=False))


def encode(part: object) -> str:
    text = part if isinstance(part, str) else json.dumps(part)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def prove(
    key: Key = KEY, alg: str = "ES256", header: dict[str, Any] | None = None, **claims: Any
) -> str:
    """A good proof with these changes; a header member or claim of None is left out."""
    members = {"typ": "dpop+jwt", "alg": alg, "jwk": public(key)} | (header or {})
    values = {"jti": uuid.uuid4().hex, "htm": "POST", "htu": URL, "iat": int(time.time())} | claims
    parts = [
        encode({name: value for name, value in part.items() if value is not None})
        for part in (members, values)
    ]
    signer = jws.JWSRegistry.algorithms["Ed25519" if alg == "EdDSA" else alg]
    signature = signer.sign(".".join(parts).encode(), key)
    return ".".join([*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")])


@pytest.fixture
def nonces(box: auth.SecretBox) -> Nonces:
    return Nonces(box)


@pytest.fixture
def check(pool: asyncpg.Pool, nonces: Nonces) -> Check:
    """Check a proof for a token request, without the nonce being demanded."""
    proofs = Proofs(pool, nonces, require_nonce=False)

    async def send(proof: str, *, method: str = "POST", url: str = URL, **other: Any) -> str:
        return await proofs.check(proof, method=method, url=url, **other)

    return send


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("ES256", KEY),
        ("EdDSA", OKPKey.generate_key("Ed25519")),
        ("Ed25519", OKPKey.generate_key("Ed25519")),
        ("RS256", RSA),
        ("PS256", RSA),
    ],
)
async def test_a_good_proof_gives_the_thumbprint_of_its_key(
    check: Check, alg: str, key: Key
) -> None:
    assert alg in dpop.ALGORITHMS
    assert await check(prove(key, alg)) == key.thumbprint()


async def test_a_proof_counts_once_over_all_replicas(
    check: Check, pool: asyncpg.Pool, nonces: Nonces
) -> None:
    proof = prove(jti="one")
    await check(proof)
    other_replica = Proofs(pool, nonces, require_nonce=False)
    with pytest.raises(InvalidProof, match="used before"):
        await other_replica.check(proof, method="POST", url=URL)
    with pytest.raises(InvalidProof, match="used before"):
        await check(prove(jti="one", iat=int(time.time()) + 1))
    other_key = ECKey.generate_key("P-256")
    assert await check(prove(other_key, jti="one")) == other_key.thumbprint()


async def test_a_refused_proof_is_not_used_up(check: Check) -> None:
    proof = prove()
    with pytest.raises(InvalidProof):
        await check(proof, method="GET")
    await check(proof)


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://NARU.example/oauth/token",
        "https://naru.example:443/oauth/token",
        "https://naru.example/oauth/token?a=b#c",
        "https://naru.example/%6fauth/./x/../token",
    ],
)
async def test_the_same_url_written_otherwise_is_the_same(check: Check, url: str) -> None:
    await check(prove(htu=url))
    await check(prove(), url=url)


async def test_percent_encodings_that_matter_are_kept(check: Check) -> None:
    await check(prove(htu="https://naru.example/a%2fb"), url="https://naru.example/a%2Fb")
    with pytest.raises(InvalidProof, match="htu"):
        await check(prove(htu="https://naru.example/a/b"), url="https://naru.example/a%2Fb")


@pytest.mark.parametrize(
    "htu",
    [
        "http://naru.example/oauth/token",
        "https://naru.example:8443/oauth/token",
        "https://naru.example/oauth/token/",
        "https://naru.example/oauth",
        "https://naru.example/OAUTH/token",
        "https://other.example/oauth/token",
        "https://naru.example@other.example/oauth/token",
        "https://user@naru.example/oauth/token",
        "https://naru.example:x/oauth/token",
        "https://[naru.example/oauth/token",
        "/oauth/token",
        "",
        "https://naru.example/oauth/tok\nen",
        "https://naru.example/" + "a" * 3000,
    ],
)
async def test_another_url_is_refused(check: Check, htu: str) -> None:
    with pytest.raises(InvalidProof, match="htu"):
        await check(prove(htu=htu))


@pytest.mark.parametrize("htm", ["GET", "post", "POST ", ""])
async def test_another_method_is_refused(check: Check, htm: str) -> None:
    with pytest.raises(InvalidProof, match="htm"):
        await check(prove(htm=htm))


@pytest.mark.parametrize("offset", [-300, -62, 62, 300])
async def test_proofs_of_another_time_are_refused(check: Check, offset: int) -> None:
    with pytest.raises(InvalidProof, match="iat"):
        await check(prove(iat=time.time() + offset))


@pytest.mark.parametrize("offset", [-55, 0.5, 55])
async def test_clocks_may_be_a_little_apart(check: Check, offset: float) -> None:
    await check(prove(iat=time.time() + offset))


async def test_a_proof_for_a_token_holds_its_hash(check: Check) -> None:
    assert await check(prove(ath=dpop.token_hash("token")), access_token="token")
    for ath in (None, dpop.token_hash("other"), "token", ""):
        with pytest.raises(InvalidProof, match="ath"):
            await check(prove(ath=ath), access_token="token")


def test_the_token_hash_is_that_of_rfc_9449_section_7_1() -> None:
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    assert dpop.token_hash(token) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


@pytest.mark.parametrize(
    "header",
    [
        {"typ": None},
        {"typ": "JWT"},
        {"typ": "DPOP+JWT"},
        {"typ": "at+jwt"},
        {"jwk": None},
        {"jwk": "key"},
        {"jwk": []},
        {"jwk": {}},
        {"jwk": dict(KEY.as_dict(private=True))},
        {"jwk": dict(OctKey.generate_key(256).as_dict())},
        {"jwk": public(KEY) | {"use": "enc"}},
        {"jwk": public(KEY) | {"key_ops": ["sign"]}},
        {"jwk": public(KEY) | {"x": "AAAA"}},
        {"jwk": public(KEY) | {"x": "é"}},
        {"jwk": public(KEY) | {"crv": "P-192"}},
        {"jwk": public(KEY) | {"kty": "oct"}},
        {"jwk": public(OKPKey.generate_key("X25519"))},
        {"jwk": public(RSA) | {"e": "AQ"}},
        {"jwk": public(RSA) | {"e": public(RSA)["n"]}},
        {"jwk": public(RSA) | {"n": public(RSA)["n"][:171]}},
        {"jwk": public(RSA) | {"n": "A" * 300 + public(RSA)["n"][:100]}},
        {"jwk": public(RSA) | {"n": public(RSA)["n"] * 3}},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": "es256"},
        {"alg": None},
        {"alg": ["ES256"]},
    ],
    ids=lambda header: json.dumps(header)[:60],
)
async def test_headers_that_are_not_a_proofs_are_refused(
    check: Check, header: dict[str, Any]
) -> None:
    with pytest.raises(InvalidProof, match=r"not a proof|with one of"):
        await check(prove(header=header))


async def test_the_algorithm_must_fit_the_key(check: Check) -> None:
    for header in ({"alg": "RS256"}, {"jwk": public(KEY) | {"alg": "ES384"}}):
        with pytest.raises(InvalidProof, match="not signed"):
            await check(prove(header=header))


async def test_another_keys_signature_is_refused(check: Check) -> None:
    with pytest.raises(InvalidProof, match="not signed"):
        await check(prove(header={"jwk": public(ECKey.generate_key("P-256"))}))
    header, _, signature = prove().split(".")
    payload = prove(htm="GET").split(".")[1]
    with pytest.raises(InvalidProof, match="not signed"):
        await check(f"{header}.{payload}.{signature}", method="GET")


@pytest.mark.parametrize(
    "claims",
    [
        {"jti": None},
        {"jti": ""},
        {"jti": "a" * 257},
        {"jti": 1},
        {"htm": None},
        {"htu": None},
        {"iat": None},
        {"iat": "now"},
        {"iat": True},
        {"iat": -1},
        {"iat": 10**30},
        {"ath": 1},
        {"nonce": []},
    ],
)
async def test_malformed_claims_are_refused(check: Check, claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidProof, match="jti"):
        await check(prove(**claims))


async def test_a_member_named_twice_is_refused(check: Check) -> None:
    claims = f'{{"jti":"a","jti":"b","htm":"POST","htu":"{URL}","iat":{int(time.time())}}}'
    header = encode({"typ": "dpop+jwt", "alg": "ES256", "jwk": public(KEY)})
    signed = f"{header}.{encode(claims)}"
    signature = jws.JWSRegistry.algorithms["ES256"].sign(signed.encode(), KEY)
    with pytest.raises(InvalidProof):
        await check(f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}")


async def test_a_long_proof_is_refused_unread(check: Check) -> None:
    with pytest.raises(InvalidProof, match="8192"):
        await check(prove(padding="a" * 8192))


async def test_odd_text_in_a_jti_is_only_text(check: Check) -> None:
    for jti in ("\0", "\ud800", '","', "é" * 256):
        proof = prove(jti=jti)
        await check(proof)
        with pytest.raises(InvalidProof, match="used before"):
            await check(proof)


async def test_a_nonce_is_demanded_where_the_setting_says_so(
    pool: asyncpg.Pool, nonces: Nonces
) -> None:
    proofs = Proofs(pool, nonces, require_nonce=True)
    with pytest.raises(NonceNeeded) as needed:
        await proofs.check(prove(), method="POST", url=URL)
    assert nonces.good(needed.value.nonce)
    await proofs.check(prove(nonce=needed.value.nonce), method="POST", url=URL)


@pytest.mark.parametrize("nonce", ["", "guess", "é", "\ud800"])
async def test_a_wrong_nonce_is_refused_even_where_none_is_demanded(
    check: Check, nonce: str
) -> None:
    with pytest.raises(NonceNeeded):
        await check(prove(nonce=nonce))


async def test_a_wrong_proof_is_told_so_before_it_is_asked_for_a_nonce(
    pool: asyncpg.Pool, nonces: Nonces
) -> None:
    proofs = Proofs(pool, nonces, require_nonce=True)
    with pytest.raises(InvalidProof) as refused:
        await proofs.check(prove(htm="GET"), method="POST", url=URL)
    assert not isinstance(refused.value, NonceNeeded)


def test_a_nonce_lives_5_to_10_minutes_on_every_process(
    box: auth.SecretBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr(dpop.time, "time", lambda: now)
    nonce = Nonces(box).issue()
    other_process = Nonces(auth.SecretBox("a secret of at least 32 characters"))
    stranger = Nonces(auth.SecretBox("another secret of 32 characters.."))
    for later, good in ((0, True), (299, True), (599, True), (601, False), (-10, True)):
        monkeypatch.setattr(dpop.time, "time", lambda later=later: now + later)
        assert other_process.good(nonce) is good, later
        assert not stranger.good(nonce)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.text(),
        st.binary().map(lambda raw: raw.decode("latin-1")),
        st.tuples(
            *[
                st.recursive(
                    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                    max_leaves=5,
                ).map(encode)
            ]
            * 2
        ).map(lambda parts: ".".join([*parts, ""])),
        st.builds(
            lambda at, text: (proof := prove())[:at] + text + proof[at + 1 :],
            st.integers(0, 500),
            st.characters(),
        ),
        st.dictionaries(
            st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "use", "key_ops", "alg"]),
            st.sampled_from(["EC", "RSA", "OKP", "P-256", "Ed25519", "AQAB", "", "sig"])
            | st.text(max_size=8)
            | st.integers()
            | st.lists(st.text(max_size=3), max_size=2),
        ).map(lambda jwk: prove(header={"jwk": jwk})),
    )
)
@example("." * 8000)
@example(encode("[" * 3000) + ".e30.")
@example(encode('{"typ":NaN}') + ".e30.")
async def test_no_text_is_worse_than_an_invalid_proof(check: Check, text: str) -> None:
    with contextlib.suppress(InvalidProof):
        await check(text)
