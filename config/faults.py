"""What is wrong with settings, a line for each fault: its path and what to write instead."""

import difflib
import os
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from config.named_files import LOOK_AT_FILES, UNUSABLE_FILE, read_secret
from config.references import missing_references
from config.settings import Settings

_NAMING = {"models", "engines", "providers"}


def check(
    values: Mapping[str, Any], *, look_at_files: bool
) -> tuple[Settings | None, Sequence[str]]:
    """Return the settings that the values are, None where they can be none; and what is wrong."""
    context = LOOK_AT_FILES if look_at_files else None
    try:
        settings = Settings.model_validate(values, context=context)
    except ValidationError as error:
        details = error.errors()
        told = [_explain(each) for each in details if not _follows(each, details)]
        return None, told + _references_of_the_rest(values, details)
    faults = missing_references(settings)
    return settings, faults + _secret_of_ours(settings) if look_at_files else faults


def _follows(detail: ErrorDetails, others: Sequence[ErrorDetails]) -> bool:
    """Tell whether a list is too short only because what stands in it is refused."""
    at = detail["loc"]
    beneath = any(len(other["loc"]) > len(at) and other["loc"][: len(at)] == at for other in others)
    return detail["type"] == "too_short" and beneath


def _references_of_the_rest(
    values: Mapping[str, Any], details: Sequence[ErrorDetails]
) -> list[str]:
    """Return the faults of references where what they stand for is not at fault itself."""
    wrong = {str(detail["loc"][0]) if detail["loc"] else "" for detail in details}
    if "" in wrong or wrong & _NAMING:
        return []
    try:
        rest = {name: each for name, each in values.items() if name not in wrong}
        return missing_references(Settings.model_validate(rest))
    except ValidationError:  # a fault of what is left without the others
        return []


def _secret_of_ours(settings: Settings) -> list[str]:
    """Return what is wrong with the secret key that an earlier start made."""
    auth, path = settings.auth, settings.auth.secret_path(settings.data_dir)
    if auth.secret_key or auth.secret_key_file or not os.access(path, os.F_OK):
        return []
    try:
        read_secret(path)
    except ValueError as error:
        return [f"{path}: {error}"]
    return []


def _explain(detail: ErrorDetails) -> str:
    path = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), _siblings(detail["loc"]), n=1)
        return f"{path}: no such setting" + (f"; did you mean `{near[0]}`?" if near else "")
    message = detail["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
    shown = detail["type"] != UNUSABLE_FILE and _is_harmless(path, detail)
    given = f", not {detail['input']!r:.60}" if shown else ""
    return f"{path}: {message}{given}" if path else message + given


def _is_harmless(path: str, detail: ErrorDetails) -> bool:
    """Tell whether the value at fault may be shown: nothing secret, and no section with secrets."""
    if isinstance(detail["input"], dict | list) or detail["type"].endswith("_type"):
        return False
    return not any(word in path for word in ("key", "url"))


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """Return the names that were possible at `location`."""
    model: type[BaseModel] = Settings
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        candidates = [field.annotation, *get_args(field.annotation)]
        sections = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        model = sections[0] if sections else model
    return list(model.model_fields)
