"""Cursor pages, as OpenAI's lists have them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, TypeVar

from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, QueryParameter

from gateway.openai.knowledge import ListPage
from rag.paging import Cursor, Order

_Row = TypeVar("_Row")
_Item = TypeVar("_Item")

Limit = Annotated[int, QueryParameter(ge=1, le=100)]
FileLimit = Annotated[int, QueryParameter(ge=1, le=10_000)]

ListCursor = NamedDependency[Cursor]
"""A handler's parameter `cursor`, where its router has `CURSOR` among its dependencies."""


def cursor_of(
    limit: Limit = 20,
    after: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
    order: FromQuery[Order] = "desc",
) -> Cursor:
    """Return what the query asks for, and one object more: it tells whether there are any."""
    return Cursor(limit + 1, after or None, before or None, order)


CURSOR = {"cursor": Provide(cursor_of, sync_to_thread=False)}


def page(rows: Sequence[_Row], limit: int, item: Callable[[_Row], _Item]) -> ListPage[_Item]:
    """Return the page of up to `limit`; `rows` holds one more where there is a next page."""
    return _page(rows[:limit], item, more=len(rows) > limit)


def cursor_page(
    rows: Sequence[_Row], cursor: Cursor, item: Callable[[_Row], _Item]
) -> ListPage[_Item]:
    """Return the page of a cursor that asked for one object more."""
    limit = cursor.limit - 1
    kept = rows[-limit:] if cursor.backwards else rows[:limit]
    return _page(kept, item, more=len(rows) > limit)


def _page(rows: Sequence[_Row], item: Callable[[_Row], _Item], *, more: bool) -> ListPage[_Item]:
    data = [item(row) for row in rows]
    ids = [str(getattr(entry, "id")) for entry in data]  # noqa: B009 - every object has one
    return ListPage(data, ids[0] if ids else "", ids[-1] if ids else "", more)


def timestamp(moment: datetime) -> int:
    """Return seconds since 1970."""
    return int(moment.timestamp())
