"""Cursor pages, as OpenAI's lists have them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, TypeVar

from litestar.params import FromQuery, QueryParameter

from gateway.openai.knowledge import ListPage
from rag.paging import Order as ListOrder

_Row = TypeVar("_Row")
_Item = TypeVar("_Item")

Limit = Annotated[int, QueryParameter(ge=1, le=100)]
Order = FromQuery[ListOrder]


def page(rows: Sequence[_Row], limit: int, item: Callable[[_Row], _Item]) -> ListPage[_Item]:
    """Return the page of up to `limit`; `rows` holds one more where there is a next page."""
    data = [item(row) for row in rows[:limit]]
    ids = [str(getattr(entry, "id")) for entry in data]  # noqa: B009 - every object has one
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return ListPage(data, first, last, len(rows) > limit)


def timestamp(moment: datetime) -> int:
    """Return seconds since 1970."""
    return int(moment.timestamp())
