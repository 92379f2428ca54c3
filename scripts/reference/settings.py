"""The page of all settings, from the settings' own types."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from config.section import Section
from config.settings import Settings
from scripts.reference.text import cell, summary

_BOUNDS = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}
_NAMES = {bool: "true or false", int: "integer", float: "number", Path: "path"}
_LISTS = {"tuple", "list", "Sequence", "frozenset"}


def settings_page() -> str:
    """Return the page of all settings, section by section."""
    lead = (
        "# Settings\n\nEvery setting with its type, bounds and default, written from the code by "
        "`make reference`.\n[configuration.md](../configuration.md) says how they are set and what "
        "they are for.\n"
    )
    return lead + "".join(_sections("", Settings, {}))


def _sections(path: str, section: type[Section], told: dict[object, str]) -> Iterator[str]:
    """Yield a section's table, then those of the sections within, each kind of them once."""
    title = path.rstrip(".")
    told[section] = title or "Top level"
    if rows := list(_rows(section, told)):
        yield f"\n## {f'`{title}`' if title else 'Top level'}\n\n{summary(section)}\n\n"
        yield "| setting | type | default | meaning |\n|---|---|---|---|\n" + "".join(rows)
    for name, field in section.model_fields.items():
        inner = _inner(field.annotation)
        if inner and inner not in told:
            keyed = ".NAME" if get_origin(field.annotation) is dict else ""
            yield from _sections(f"{path}{name}{keyed}.", inner, told)


def _rows(section: type[Section], told: dict[object, str]) -> Iterator[str]:
    """Yield a row for each setting that has no table of its own, or more to say."""
    meanings = _meanings(section)
    for name, field in section.model_fields.items():
        inner = _inner(field.annotation)
        meaning = meanings.get(name, f"As `{told[inner]}`." if inner in told else "")
        if meaning or not inner:
            cells = (f"`{name}`", _type(field), _default(field), meaning)
            yield f"| {' | '.join(map(cell, cells))} |\n"


def _inner(annotation: Any) -> type[Section] | None:  # noqa: ANN401 - any annotation
    """Return the section that a field holds, or holds many of."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_inner, get_args(annotation))), None)


def _meanings(section: type[Section]) -> dict[str, str]:
    """Return the docstrings of the fields, those inherited too."""
    found = dict[str, str]()
    for kind in reversed(section.__mro__):
        if not issubclass(kind, Section) or kind is Section:
            continue
        body = _class_body(kind)
        for field, text in pairwise(body):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(meaning))),
                ):
                    found[name] = " ".join(meaning.split())
    return found


def _class_body(kind: type) -> list[ast.stmt]:
    defined = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(defined, ast.ClassDef)  # noqa: S101
    return defined.body


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(limit, attribute):g}"
        for limit in field.metadata
        for kind, (attribute, sign) in _BOUNDS.items()
        if isinstance(limit, kind)
    ]
    return ", ".join([_named(field.annotation), *bounds])


def _named(annotation: Any) -> str:  # noqa: ANN401 - any annotation
    """Return an annotation as an operator would say it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    name = getattr(origin, "__name__", "")
    if hasattr(annotation, "__metadata__"):
        return _named(annotation.__origin__)
    if name in ("dict", "Mapping"):
        return f"mapping of {_named(arguments[1])}"
    if name in _LISTS:
        return f"list of {_named(arguments[0])}"
    if name == "Literal":
        return " or ".join(f"`{value}`" for value in arguments)
    if origin:
        several = [_named(each) for each in arguments if each is not type(None)]
        return " or ".join(dict.fromkeys(several))
    return "section" if _inner(annotation) else _NAMES.get(annotation, "text")


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "needed"
    if value is None or isinstance(value, Section):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list | dict) and not value:
        return ""
    if isinstance(value, tuple | list | frozenset):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value:g}`" if isinstance(value, float) and value < 1e6 else f"`{value}`"
