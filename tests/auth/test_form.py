from collections.abc import Mapping

import pytest
from authlib.oauth2.rfc6749.errors import InvalidRequestError

from auth.form import MAX_BODY_BYTES, Form, OAuthRequest, parse_form

FORM = {"content-type": "application/x-www-form-urlencoded"}


def parse(body: bytes, query: bytes = b"", headers: Mapping[str, str] = FORM) -> Form:
    return parse_form(OAuthRequest("POST", tuple(headers.items()), query, body))


def test_values_are_decoded_as_appendix_b_says() -> None:
    form = parse(b"grant_type=a+b&scope=%ED%95%9C%EA%B8%80&x=%2B%26%3D")
    assert form.parameters == {"grant_type": "a b", "scope": "한글", "x": "+&="}


def test_a_parameter_without_a_value_counts_as_omitted() -> None:
    form = parse(b"grant_type=&scope&x=1&&")
    assert form.parameters == {"x": "1"}
    assert form.get("scope") is None


def test_only_resource_may_be_repeated() -> None:
    assert parse(b"resource=a&resource=b").resources == ("a", "b")
    for body in (b"x=1&x=1", b"x=1&x=2", b"x=&x=", b"x=1&%78=2"):
        with pytest.raises(InvalidRequestError, match="repeated"):
            parse(body)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded;charset=UTF-8",
        "Application/X-WWW-Form-URLencoded ; charset=utf-8",
    ],
)
def test_a_form_by_any_spelling_is_a_form(content_type: str) -> None:
    assert parse(b"x=1", headers={"content-type": content_type}).parameters == {"x": "1"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "application/json"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "text/plain, application/x-www-form-urlencoded"},
    ],
)
def test_other_bodies_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match="the body must be"):
        parse(b"grant_type=client_credentials", headers=headers)


@pytest.mark.parametrize(
    "name",
    ["client_secret", "client_assertion", "client_id", "grant_type", "scope", "client%5Fsecret"],
)
def test_parameters_in_the_url_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="never into the URL"):
        parse(b"x=1", query=f"a=b&{name}=x".encode())


def test_other_query_parameters_are_ignored() -> None:
    assert parse(b"x=1", query=b"api-version=1&y").parameters == {"x": "1"}


@pytest.mark.parametrize("bad", [b"x=\xff", b"x=%FF", b"%FF=x", b"x=%ED%A0%80", b"\xed\xa0\x80=1"])
def test_what_is_not_utf_8_is_refused(bad: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="not UTF-8"):
        parse(bad)
    with pytest.raises(InvalidRequestError, match="not UTF-8"):
        parse(b"", query=bad)


@pytest.mark.parametrize("bad", [b"x=%00", b"x=\0", b"%00=x", b"x=a%00b"])
def test_nul_characters_are_refused(bad: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="NUL"):
        parse(bad)


def test_the_longest_body_is_named() -> None:
    assert parse(b"x=" + b"a" * (MAX_BODY_BYTES - 2)).get("x")
    with pytest.raises(InvalidRequestError, match="65536 bytes"):
        parse(b"x=" + b"a" * (MAX_BODY_BYTES - 1))


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="too many"):
        parse(b"&".join(b"x%d=1" % number for number in range(101)))
