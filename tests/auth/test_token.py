"""Forged, foreign and stale tokens, without a database."""

import base64
import dataclasses
import datetime as dt
import hmac
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey

from auth import token
from auth.clients import Client
from auth.errors import InvalidToken
from auth.keys import SigningKeys
from auth.signing import Algorithm, SigningKey
from config.scope import EVERYTHING, Allowed

ISSUER = "https://naru.example"
NOW = int(time.time())
CLAIMS = {
    "iss": ISSUER,
    "aud": ISSUER,
    "sub": "demo",
    "client_id": "demo",
    "iat": NOW,
    "exp": NOW + 900,
    "jti": "1",
    "scope": "inference agents",
    "tenant": "acme",
}
KEY = SigningKey("k1", "ES256", ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}))


async def nothing_new(known: object) -> list[SigningKey]:
    return [KEY]


KEYS = SigningKeys([KEY], nothing_new)
HEADER = {"alg": "ES256", "kid": "k1", "typ": "at+jwt"}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is `NOW`, however long ago this module was collected."""
    monkeypatch.setattr(token, "time", SimpleNamespace(time=lambda: float(NOW)))


def sign(header: dict[str, Any] = HEADER, key: Any = KEY.jwk, **claims: Any) -> str:
    """A token with these changes; a claim of None is left out."""
    kept = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jws.serialize_compact(header, json.dumps(kept), key, [header["alg"]])


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def read(text: str) -> token.AccessToken:
    return token.read(text, KEYS, issuer=ISSUER, audience=ISSUER)


CLIENT = Client(
    id="demo",
    tenant="acme",
    name="demo",
    role="editor",
    scopes=frozenset({"inference", "agents"}),
    default_scopes=frozenset({"inference", "agents"}),
    auth_methods=frozenset({"client_secret_basic"}),
    jwks=None,
    assertion_algorithms=frozenset(),
    dpop=False,
    allowed=EVERYTHING,
    end_user="optional",
    residency="any",
    generation=0,
    created_at=dt.datetime.now(dt.UTC),
    disabled_at=None,
)


def issue(client: Client = CLIENT, **changes: Any) -> str:
    arguments = {"issuer": ISSUER, "audience": ISSUER, "scope": "inference agents", "ttl_s": 900}
    return token.issue(KEYS, client=client, **(arguments | changes))


def test_a_token_has_the_claims_of_rfc_9068() -> None:
    text = issue()
    header, payload = (
        json.loads(base64.urlsafe_b64decode(part + "==")) for part in text.split(".")[:2]
    )
    assert header == HEADER
    assert payload.pop("jti")
    assert payload.pop("iat") == pytest.approx(NOW, abs=2)
    assert payload.pop("exp") == pytest.approx(NOW + 900, abs=2)
    assert payload == {
        name: CLAIMS[name] for name in ("iss", "aud", "sub", "client_id", "scope", "tenant")
    } | {"roles": ["editor"]}
    assert read(text).tenant == "acme"


def test_a_clients_limits_are_claims_of_its_tokens() -> None:
    limited = dataclasses.replace(
        CLIENT,
        role="viewer",
        generation=3,
        allowed=Allowed(agents=frozenset({"b", "a"}), models=frozenset()),
        end_user="required",
    )
    text = issue(limited, audience=(ISSUER, "https://api.example"), jkt="thumbprint")
    payload = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    assert {name: payload[name] for name in payload.keys() - CLAIMS.keys()} == {
        "roles": ["viewer"],
        "generation": 3,
        "allowed": {"agents": ["a", "b"], "models": []},
        "end_user": "required",
        "cnf": {"jkt": "thumbprint"},
    }
    assert payload["aud"] == [ISSUER, "https://api.example"]
    claims = read(text)
    assert claims.objects == limited.allowed
    assert (claims.roles, claims.generation, claims.end_user) == (("viewer",), 3, "required")


def test_a_token_with_three_full_allow_lists_is_not_too_long() -> None:
    full = Allowed(
        agents=frozenset(f"{number:064}" for number in range(64)),
        models=frozenset(f"{number:0100}" for number in range(64)),
        vector_stores=frozenset(f"{number:035}" for number in range(64)),
    )
    assert read(issue(dataclasses.replace(CLIENT, allowed=full))).objects == full


def test_a_longer_token_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token.jose, "decode", None)
    with pytest.raises(InvalidToken, match="longer than"):
        read("a" * (token.MAX_CHARS + 1))


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_every_algorithm_signs_and_verifies_and_no_other_key_does(algorithm: Algorithm) -> None:
    one, other = (SigningKey.generate(algorithm) for _ in range(2))
    signing = SigningKeys([one], nothing_new)
    text = token.issue(signing, issuer=ISSUER, audience=ISSUER, client=CLIENT, scope="", ttl_s=60)
    keys = SigningKeys([other, one], nothing_new)
    assert token.read(text, keys, issuer=ISSUER, audience=ISSUER).client_id == "demo"
    disguised = SigningKeys([dataclasses.replace(other, kid=one.kid)], nothing_new)
    with pytest.raises(InvalidToken, match="altered"):
        token.read(text, disguised, issuer=ISSUER, audience=ISSUER)


def test_no_two_tokens_share_a_jti() -> None:
    assert read(issue()).jti != read(issue()).jti


@pytest.mark.parametrize(
    "good",
    [
        sign,
        lambda: sign(HEADER | {"typ": "application/AT+JWT"}),
        lambda: sign(aud=["https://other.example", ISSUER]),
        lambda: sign(iat=NOW + 50, nbf=NOW + 50),
        lambda: sign(unknown={"a": 1}),
    ],
)
def test_tokens_within_the_rules_are_read(good: Callable[[], str]) -> None:
    assert read(good()).client_id == "demo"


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"aud": "https://other.example"}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": ISSUER + "/v1"}, "another audience"),
        ({"exp": NOW - 1}, "expired"),
        ({"exp": 0}, "expired"),
        ({"nbf": NOW + 600}, "not valid yet"),
        ({"iat": NOW + 600}, "not valid yet"),
    ],
)
def test_foreign_and_stale_tokens_say_why(claims: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidToken, match=why):
        read(sign(**claims))


@pytest.mark.parametrize("missing", CLAIMS)
def test_every_claim_is_required(missing: str) -> None:
    with pytest.raises(InvalidToken):
        read(sign(**{missing: None}))


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": "2999-01-01"},
        {"exp": True},
        {"exp": 1e400},
        {"exp": 10**30},
        {"exp": -1},
        {"aud": {"a": ISSUER}},
        {"aud": [1, ISSUER]},
        {"scope": ["admin"]},
        {"tenant": 7},
        {"client_id": ["demo"]},
        {"roles": ["root"]},
        {"roles": "editor"},
        {"roles": []},
        {"generation": -1},
        {"generation": "0"},
        {"allowed": ["hr"]},
        {"allowed": {"agents": "hr"}},
        {"end_user": "maybe"},
        {"cnf": {}},
        {"cnf": {"x5t#S256": "a"}},
        {"exp": NOW + 900.5},
    ],
)
def test_claims_of_another_type_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        read(sign(**claims))


@pytest.mark.parametrize("typ", ["JWT", "", "at+jwt2", "client-authentication+jwt", None, 3])
def test_only_access_tokens_are_access_tokens(typ: object) -> None:
    header = {name: value for name, value in (HEADER | {"typ": typ}).items() if value is not None}
    parts = [encode(json.dumps(part).encode()) for part in (header, CLAIMS)]
    with pytest.raises(InvalidToken):
        read(".".join([*parts, sign().rpartition(".")[2]]))
    if isinstance(typ, str):
        with pytest.raises(InvalidToken, match=r"at\+jwt"):
            read(sign(header))


def test_alg_none_is_refused() -> None:
    for alg in ("none", "None", "NONE", ""):
        header = encode(json.dumps(HEADER | {"alg": alg}).encode())
        payload = encode(json.dumps(CLAIMS).encode())
        for signature in ("", sign().rpartition(".")[2]):
            with pytest.raises(InvalidToken):
                read(f"{header}.{payload}.{signature}")


def test_hs256_with_the_public_keys_bytes_is_refused() -> None:
    jwk = json.dumps(KEYS.jwks()["keys"][0]).encode()
    assert isinstance(KEY.jwk, ECKey)
    for secret in (KEY.jwk.as_pem(private=False), KEY.jwk.as_der(private=False), jwk):
        header = encode(json.dumps(HEADER | {"alg": "HS256"}).encode())
        signed = f"{header}.{encode(json.dumps(CLAIMS).encode())}"
        signature = hmac.digest(secret, signed.encode(), "sha256")
        with pytest.raises(InvalidToken, match="not signed with a key of ours"):
            read(f"{signed}.{encode(signature)}")


def test_another_key_is_refused_even_under_our_kid() -> None:
    other = ECKey.generate_key("P-256")
    with pytest.raises(InvalidToken, match="altered"):
        read(sign(key=other))
    with pytest.raises(InvalidToken, match="not signed with a key of ours"):
        read(sign(HEADER | {"kid": "k2"}, other))


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u"])
def test_a_key_inside_the_token_is_not_used(name: str) -> None:
    other = ECKey.generate_key("P-256")
    public = other.as_dict(private=False)
    value = public if name == "jwk" else "https://attacker.example/jwks"
    with pytest.raises(InvalidToken):
        read(sign(HEADER | {name: value}, other))


def test_a_token_without_kid_is_refused() -> None:
    with pytest.raises(InvalidToken):
        read(sign({"alg": "ES256", "typ": "at+jwt"}))


def test_any_flipped_bit_is_noticed() -> None:
    text = sign()
    for place in range(len(text)):
        changed = "A" if text[place] != "A" else "B"
        with pytest.raises(InvalidToken):
            read(text[:place] + changed + text[place + 1 :])


def test_any_truncation_is_noticed() -> None:
    text = sign()
    for length in range(len(text)):
        with pytest.raises(InvalidToken):
            read(text[:length])


def test_a_valid_signature_over_other_content_is_refused() -> None:
    half, deep = json.dumps(CLAIMS).encode()[:-1], b'{"x":' + b"[" * 9_000
    for payload in (b"", b"[]", b"null", b"\xff", half, deep):
        with pytest.raises(InvalidToken):
            read(jws.serialize_compact(HEADER, payload, KEY.jwk, ["ES256"]))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_HEADERS = st.one_of(
    _JSON,
    st.fixed_dictionaries(
        {"alg": st.sampled_from(["ES256", "none"]) | _JSON, "kid": st.just("k1") | _JSON},
        optional={"typ": st.just("at+jwt"), "crit": _JSON, "b64": _JSON, "jwk": _JSON},
    ),
)


@settings(deadline=None)
@given(header=_HEADERS, payload=_JSON, signature=st.binary(max_size=80))
@example(header="alg", payload=None, signature=b"")
@example(header=["alg"], payload=None, signature=b"")
@example(header={**HEADER, "crit": None}, payload=CLAIMS, signature=bytes(64))
@example(header={**HEADER, "crit": [[]]}, payload=CLAIMS, signature=bytes(64))
@example(header={**HEADER, "b64": False, "crit": ["b64"]}, payload=CLAIMS, signature=bytes(64))
def test_forged_parts_never_raise_anything_else(
    header: object, payload: object, signature: bytes
) -> None:
    parts = [encode(json.dumps(part).encode()) for part in (header, payload)]
    with pytest.raises(InvalidToken):
        read(".".join([*parts, encode(signature)]))


@settings(deadline=None)
@given(st.text(st.characters(codec="ascii"), max_size=200))
@example("a.b.c")
@example("..")
@example("." * 200)
def test_any_ascii_text_is_invalid_and_nothing_worse(text: str) -> None:
    with pytest.raises(InvalidToken):
        read(text)
