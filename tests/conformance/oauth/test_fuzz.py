"""Whatever is sent to an OAuth endpoint, it answers as RFC 6749 says, and never with a 5xx."""

from urllib.parse import quote_from_bytes, urlencode

import httpx
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from oauth_support import ASSERTION_TYPE, ENDPOINTS, FORM, Registered, Site, error_of

# What an HTTP/1.1 client can put into a header's value.
_VISIBLE = bytes([*range(0x21, 0x7F), *range(0x80, 0x100)])
_HEADER = st.lists(st.sampled_from(_VISIBLE), min_size=1, max_size=60).map(bytes)
_NAMES = st.sampled_from(
    [
        *("grant_type", "scope", "resource", "client_id", "client_secret", "client_assertion"),
        *("client_assertion_type", "token", "token_type_hint", "unheard_of"),
    ]
)
_VALUES = st.one_of(
    st.sampled_from(["client_credentials", "agents", "", ASSERTION_TYPE, "a.b.c", "e30.e30.AA"]),
    st.text(max_size=40),
    st.sampled_from(["x" * 60_000, "." * 1000, "e30." * 500]),
)
_FORMS = st.lists(st.tuples(_NAMES, _VALUES), max_size=6).map(
    lambda pairs: urlencode(pairs, errors="surrogatepass").encode()
)
_BODIES = st.one_of(
    _FORMS, st.binary(max_size=400), st.sampled_from([b"\xff" * 65_536, b"a=b&" * 16_384])
)
_SCHEMES = st.sampled_from([b"Basic ", b"basic ", b"Bearer ", b"DPoP ", b""])
_CREDENTIALS = st.tuples(_SCHEMES, _HEADER).map(b"".join)
_ERRORS = {
    *("invalid_request", "invalid_client", "invalid_grant", "unsupported_grant_type"),
    *("invalid_scope", "invalid_target", "invalid_dpop_proof", "use_dpop_nonce"),
}
_OFTEN = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_OFTEN
@given(
    endpoint=st.sampled_from(ENDPOINTS),
    body=_BODIES,
    query=st.one_of(st.just(b""), _FORMS, st.binary(max_size=50).map(quote_from_bytes)),
    media_type=st.one_of(st.just(FORM.encode()), _HEADER),
    authorization=st.lists(_CREDENTIALS, max_size=2),
    dpop=st.lists(_HEADER, max_size=2),
)
@example("/oauth/token", b"client_assertion=%F0%9F%98%80", b"", FORM.encode(), [], [])
async def test_any_request_is_refused_in_good_order(
    site: Site,
    endpoint: str,
    body: bytes,
    query: bytes | str,
    media_type: bytes,
    authorization: list[bytes],
    dpop: list[bytes],
) -> None:
    headers = [(b"content-type", media_type)]
    headers += [(b"authorization", value) for value in authorization]
    headers += [(b"dpop", value) for value in dpop]
    query = query.decode() if isinstance(query, bytes) else query
    answer = await site.http.post(
        httpx.URL(site.issuer + endpoint + (f"?{query[:2000]}" if query else "")),
        content=body,
        headers=headers,
    )
    assert answer.status_code in {400, 401, 413, 429}
    assert error_of(answer) in _ERRORS


@_OFTEN
@given(
    token=st.one_of(st.text(min_size=1, max_size=200), _VALUES.filter(bool)).filter(
        lambda text: "\0" not in text
    ),
    hint=st.text(max_size=20).filter(lambda text: "\0" not in text),
)
async def test_any_token_is_revoked_and_described_in_good_order(
    client: Registered, token: str, hint: str
) -> None:
    assert (await client.revoke(token, token_type_hint=hint)).status_code == 200
    described = await client.introspect(token, token_type_hint=hint)
    assert described.status_code == 200
    assert described.json() == {"active": False}


@_OFTEN
@given(form=st.dictionaries(st.sampled_from(["scope", "resource", "unheard_of"]), _VALUES))
async def test_any_request_of_a_client_is_answered_in_good_order(
    client: Registered, form: dict[str, str]
) -> None:
    answer = await client.ask(**form)
    assert answer.status_code in {200, 400, 413}
    assert answer.status_code == 200 or error_of(answer) in _ERRORS
