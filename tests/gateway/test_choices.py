"""What is said of a value that is none of an enum."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from litestar.exceptions import ValidationException

from gateway.choices import name_choices

_Way = Literal["up", "down"]


class _Cat(msgspec.Struct, tag="cat"):
    mood: Literal["asleep", "hungry"]
    way: _Way = "up"


class _Dog(msgspec.Struct, tag="dog"):
    mood: Literal["happy", "happier"]
    way: _Way = "up"


class _Body(msgspec.Struct):
    way: _Way | None = None
    long: Annotated[_Way, msgspec.Meta(description="d")] = msgspec.field(
        default="up", name="long-way"
    )
    ways: list[_Way] = []
    named: dict[str, _Way] = {}
    pet: _Cat | _Dog | None = None
    number: int = 0


def told(body: dict[str, Any], message: str = "Invalid enum value 'x'") -> str:
    """Return what is told of a body in which one value is refused, as the decoder names it."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(body, _Body)
    said, _, path = str(caught.value).partition(" - at `$.")
    assert said == message
    fault = {"message": said, "key": path.removesuffix("`"), "source": "body"}
    error = ValidationException(extra=[fault])
    name_choices(error, {"data": _Body})
    return fault["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"way": "x"},
        {"long-way": "x"},
        {"ways": ["up", "x"]},
        {"named": {"a": "x"}},
        {"pet": {"type": "dog", "mood": "happy", "way": "x"}},
    ],
)
def test_the_choices_are_named_wherever_they_stand(body: dict[str, Any]) -> None:
    assert told(body) == "Invalid enum value 'x'; it is one of down, up"


def test_nothing_is_added_that_may_be_wrong() -> None:
    assert told({"pet": {"type": "dog", "mood": "x"}}) == "Invalid enum value 'x'"
    other = "Expected `int`, got `str`"
    assert told({"number": "x"}, other) == other


@pytest.mark.parametrize(("key", "expected"), [("way", "; it is one of down, up"), ("unknown", "")])
def test_parameters_of_a_query_have_choices_too(key: str, expected: str) -> None:
    fault = {"message": "Invalid enum value 'x'", "key": key, "source": "query"}
    name_choices(ValidationException(extra=[fault]), {"way": _Way, "data": _Body})
    assert fault["message"] == f"Invalid enum value 'x'{expected}"


@pytest.mark.parametrize("extra", [None, [], {}])
def test_an_error_without_faults_stays_as_it_is(extra: Any) -> None:
    error = ValidationException("no", extra=extra)
    name_choices(error, {})
    assert error.detail == "no"
