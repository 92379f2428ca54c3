from typing import cast

import pytest

from config.scope import TenantScope
from gateway.errors import Overloaded, Unavailable
from gateway.govern.charge import Asked, Charge
from gateway.govern.governor import Governor
from gateway.govern.limits import Limiter


class Book:
    """A ledger that remembers; `full` refuses everything new."""

    def __init__(self, *, full: bool = False) -> None:
        self.opened: list[Charge] = []
        self.closed: list[tuple[str, str]] = []
        self._full = full

    waits = False

    def open(self, charge: Charge) -> None:
        if self._full:
            raise Unavailable("full", code="ledger_unavailable")
        self.opened.append(charge)

    async def close(self, charge: Charge) -> None:
        self.closed.append((charge.id, charge.ending))


class Refusing:
    async def reserve(self, charge: Charge) -> None:
        raise Overloaded("too many", code="rate_limit_exceeded")

    def settle(self, charge: Charge) -> None: ...


def charge() -> Charge:
    return Charge(TenantScope("t", "c", frozenset()), Asked("chat", "m"))


async def test_a_request_has_one_record_at_its_end() -> None:
    book, asked = Book(), charge()
    async with Governor(book).governing(asked):
        assert (book.opened, book.closed) == ([asked], [])
    assert book.closed == [(asked.id, "completed")]


async def test_what_was_opened_is_settled_by_whoever_closes_it() -> None:
    book, asked = Book(), charge()
    governor = Governor(book)
    async with governor.opening(asked):
        pass
    assert (book.opened, book.closed) == ([asked], [])
    async with governor.settling(asked):
        asked.ending = "abstained"
    assert book.closed == [(asked.id, "abstained")]


async def test_what_can_t_be_opened_is_settled_at_once() -> None:
    book, asked = Book(), charge()
    with pytest.raises(Overloaded):
        async with Governor(book).opening(asked):
            raise Overloaded("busy", code="session_busy")
    assert book.closed == [(asked.id, "session_busy")]


async def test_a_refused_request_has_one_too() -> None:
    book, asked = Book(), charge()
    with pytest.raises(Overloaded):
        await Governor(book, limiter=cast("Limiter", Refusing())).begin(asked)
    assert book.closed == [(asked.id, "rate_limit_exceeded")]


async def test_what_can_t_be_recorded_is_not_begun() -> None:
    book = Book(full=True)
    with pytest.raises(Unavailable):
        async with Governor(book).governing(charge()):
            pytest.fail("it was begun")
    assert book.closed == []
