"""Rows for a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Return rows with a head, which is `columns` where there are none.

    A text that a spreadsheet would compute is quoted with `'`.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(rows[0] if rows else columns)
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
