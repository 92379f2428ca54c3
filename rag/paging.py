"""Lists by age, a page at a time: keyset cursors, so that a page costs the same wherever it is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import asyncpg

from config.postgres import Connection

Order = Literal["asc", "desc"]
Place = tuple[datetime, str]
"""Where an object stands in a list: when it was made, and its id."""

_BEGINNING: Place = (datetime.min.replace(tzinfo=UTC), "")
_END: Place = (datetime.max.replace(tzinfo=UTC), "")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Which part of a list, `desc` being the newest first.

    Attributes:
        limit: How many objects at most.
        after: Only those behind this object, the nearest to it.
        before: Only those in front of this object; without `after`, the nearest to it.
    """

    limit: int = 20
    after: str | None = None
    before: str | None = None
    order: Order = "desc"

    @property
    def backwards(self) -> bool:
        """Tell whether the page ends at a known object instead of beginning there."""
        return self.before is not None and self.after is None


@dataclass(frozen=True, slots=True)
class ListQueries:
    """The two statements of a list; their last parameters are its bounds, exclusive, and a limit.

    That is: the place of the older bound ($n, $n+1), of the newer ($n+2, $n+3), the limit ($n+4).
    """

    newest_first: str
    oldest_first: str


async def read_page(
    con: Connection,
    queries: ListQueries,
    cursor: Cursor,
    find: Callable[[str], Awaitable[Place]],
    *params: object,
) -> list[asyncpg.Record]:
    """Return the rows of a page in their order; `find` tells the place of a named object.

    Raises:
        NotFound: As `find` raises it.
    """
    after = await find(cursor.after) if cursor.after is not None else None
    before = await find(cursor.before) if cursor.before is not None else None
    newest_first = cursor.order == "desc"
    older, newer = (before, after) if newest_first else (after, before)
    query = queries.newest_first if newest_first != cursor.backwards else queries.oldest_first
    bounds = *(older or _BEGINNING), *(newer or _END)
    rows: list[asyncpg.Record] = await con.fetch(query, *params, *bounds, cursor.limit)
    return rows[::-1] if cursor.backwards else rows
