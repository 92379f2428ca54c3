"""Filters over a file's attributes, as OpenAI's vector stores have them, compiled to SQL.

A filter that is made is a valid one: what OpenAI's schema does not allow is refused at once.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from rag.errors import FilterRefused
from rag.files import comparable

Comparator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
Combinator = Literal["and", "or"]
Scalar = str | float | bool

MAX_DEPTH = 8
MAX_COMPARISONS = 100
MAX_VALUES = 1000
_MAX_TEXT = 512  # characters of an attribute's value
_MAX_KEY = 64

_ORDERS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One attribute against a value.

    Values of different types are never equal and never ordered; numbers are compared as numbers,
    strings by their code points, and false comes before true. A file without the attribute is
    matched by `ne` and `nin` alone.

    Attributes:
        key: The attribute's name.
        op: How they are compared.
        value: One value; of `in` and `nin` a list of them.

    Raises:
        FilterRefused: The value does not go with the operator, or is out of bounds.
    """

    key: str
    op: Comparator
    value: Scalar | Sequence[Scalar]

    def __post_init__(self) -> None:
        if self.op not in get_args(Comparator):
            known = ", ".join(get_args(Comparator))
            raise FilterRefused(f"a filter's type is one of {known}, and, or: not {self.op!r}")
        if not isinstance(self.key, str) or not 0 < len(self.key) <= _MAX_KEY:
            raise FilterRefused(f"a filter's key is a text of 1 to {_MAX_KEY} characters")
        several = isinstance(self.value, Sequence) and not isinstance(self.value, str)
        if several != (self.op in {"in", "nin"}):
            wanted = "one value" if several else "a list of values"
            raise FilterRefused(f"the filter {self.op!r} of {self.key!r} takes {wanted}")
        if len(self.values) > MAX_VALUES:
            raise FilterRefused(f"a filter's list holds at most {MAX_VALUES} values")
        for value in self.values:
            _check_value(self.key, value)

    @property
    def values(self) -> list[Scalar]:
        """Return what is compared with, one or several."""
        several = isinstance(self.value, Sequence) and not isinstance(self.value, str)
        return list(self.value) if several else [self.value]  # type: ignore[list-item,arg-type]

    @property
    def depth(self) -> int:
        """Return how deep it is nested: one."""
        return 1

    @property
    def size(self) -> int:
        """Return how many comparisons it is: one."""
        return 1


@dataclass(frozen=True, slots=True)
class Compound:
    """Several filters: all of them must match (`and`), or one (`or`).

    Raises:
        FilterRefused: There are none, too many, or they are nested too deep.
    """

    op: Combinator
    filters: Sequence["Comparison | Compound"]

    def __post_init__(self) -> None:
        if self.op not in get_args(Combinator):
            raise FilterRefused(f"filters are combined by 'and' or 'or', not by {self.op!r}")
        if not self.filters:
            raise FilterRefused(f"the filter {self.op!r} needs at least one filter")
        if self.depth > MAX_DEPTH:
            raise FilterRefused(f"filters are nested at most {MAX_DEPTH} deep")
        if self.size > MAX_COMPARISONS:
            raise FilterRefused(f"a filter holds at most {MAX_COMPARISONS} comparisons")

    @property
    def depth(self) -> int:
        """Return how deep it is nested; one more than its deepest."""
        return 1 + max(each.depth for each in self.filters)

    @property
    def size(self) -> int:
        """Return how many comparisons it holds."""
        return sum(each.size for each in self.filters)


Filter = Comparison | Compound
"""What a search may be limited by."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter in SQL, with the values of its parameters."""

    sql: str
    arguments: tuple[str, ...]


def compile_filter(wanted: Filter, *, column: str, first: int) -> Condition:
    """Return the filter as a condition on `column`, a jsonb object.

    Its parameters are numbered from `first` on, all of them texts.
    """
    arguments: list[str] = []

    def parameter(value: str) -> str:
        arguments.append(value)
        return f"${first + len(arguments) - 1}::text"

    sql = _condition(wanted, column, parameter)
    return Condition(sql, tuple(arguments))


def _condition(wanted: Filter, column: str, parameter: Callable[[str], str]) -> str:
    if isinstance(wanted, Comparison):
        return _comparison(wanted, column, parameter)
    joined = f" {wanted.op.upper()} ".join(
        _condition(each, column, parameter) for each in wanted.filters
    )
    return f"({joined})"


def _comparison(wanted: Comparison, column: str, parameter: Callable[[str], str]) -> str:
    key = parameter(comparable(wanted.key))
    found = f"({column} -> {key})"
    if wanted.op in _ORDERS:
        return _order(wanted, found, f"({column} ->> {key})", parameter)
    # As jsonb: 1 equals 1.0, and neither "1".
    values = parameter(json.dumps([_stored(value) for value in wanted.values], ensure_ascii=False))
    held = f"{values}::jsonb @> jsonb_build_array({found})"
    return held if wanted.op in {"eq", "in"} else f"NOT {held}"


def _order(wanted: Comparison, found: str, text: str, parameter: Callable[[str], str]) -> str:
    (value,) = wanted.values
    order = _ORDERS[wanted.op]
    if isinstance(value, str):
        typed, ordered = "string", f'{text} COLLATE "C" {order} {parameter(comparable(value))}'
    else:
        typed = "boolean" if isinstance(value, bool) else "number"
        ordered = f"{found} {order} {parameter(json.dumps(value))}::jsonb"
    return f"coalesce(jsonb_typeof{found} = '{typed}' AND {ordered}, false)"


def _stored(value: Scalar) -> Scalar:
    return comparable(value) if isinstance(value, str) else value


def _check_value(key: str, value: object) -> None:
    if isinstance(value, str):
        if len(value) > _MAX_TEXT:
            raise FilterRefused(f"the filter of {key!r}: a text has at most {_MAX_TEXT} characters")
    elif not isinstance(value, int | float):
        raise FilterRefused(f"the filter of {key!r}: a value is a text, a number or a boolean")
    elif not abs(value) <= sys.float_info.max:  # NaN is not
        raise FilterRefused(f"the filter of {key!r}: the number is out of range")
