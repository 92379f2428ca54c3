"""Heads of requests: which values are told of what was sent several times."""

from typing import Any

import pytest

from gateway.heads import every_value, header

ONCE = [(b"host", b"naru"), (b"dpop", b"a\xff"), (b"x", b"")]


def scope_of(heads: list[tuple[bytes, bytes]]) -> Any:
    return {"type": "http", "headers": heads}


def test_a_headers_first_value_is_told() -> None:
    scope = scope_of([*ONCE, (b"host", b"other"), (b"x", b"y")])
    assert [header(scope, name) for name in (b"host", b"dpop", b"x", b"y")] == [
        *("naru", "a\xff", ""),
        None,
    ]


@pytest.mark.parametrize("more", [[], [(b"host", b"other")]], ids=["once", "another twice"])
def test_a_header_that_was_sent_once_has_one_value(more: list[tuple[bytes, bytes]]) -> None:
    scope = scope_of([*ONCE, *more])
    assert every_value(scope, b"dpop") == ("a\xff",)
    assert every_value(scope, b"x") == ("",)


def test_all_values_are_told_in_their_order() -> None:
    scope = scope_of([(b"dpop", b"b"), *ONCE, (b"dpop", b"a")])
    assert every_value(scope, b"dpop") == ("b", "a\xff", "a")
