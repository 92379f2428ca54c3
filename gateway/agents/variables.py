"""An agent's instructions are a template: `{{name}}` stands for a variable that it declares.

Plain substitution, once: nothing in a value is looked at again, and nothing in a template runs.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.agents.definition import (
    AgentDefinition,
    BooleanVariable,
    IntegerVariable,
    NumberVariable,
    TextVariable,
    Variable,
)
from gateway.agents.inert import inert
from gateway.agents.registry import Agent
from gateway.errors import InvalidRequest

# What looks like a name is one: a typo must not go to the model as it stands.
_PLACEHOLDER = re.compile(r"\{\{[ \t]*([A-Za-z_][\w.|-]*)[ \t]*\}\}", re.ASCII)
# Passages stand between such brackets: a value must neither open nor close one.
_ESCAPES = str.maketrans({"<": "&lt;", ">": "&gt;"})


def check_template(definition: AgentDefinition) -> None:
    """Refuse a template that names what is not declared, and variables that no value fits.

    Raises:
        InvalidRequest: `param` names the place.
    """
    for name in _PLACEHOLDER.findall(definition.instructions):
        if name not in definition.variables:
            raise InvalidRequest(
                f"instructions: `{{{{{name[:64]}}}}}` is no variable: declare it in `variables`",
                param="instructions",
            )
    for name, variable in definition.variables.items():
        _check_declaration(variable, f"variables.{name}")


def filled(agent: Agent, given: Mapping[str, Any] | None) -> Agent:
    """Return the agent with a request's values in the places of its instructions.

    Raises:
        InvalidRequest: As `fill` raises it.
    """
    instructions = fill(agent.definition, given or {})
    definition = msgspec.structs.replace(agent.definition, instructions=instructions)
    return msgspec.structs.replace(agent, definition=definition)


def fill(definition: AgentDefinition, given: Mapping[str, Any]) -> str:
    """Return the instructions with the values in their places.

    Raises:
        InvalidRequest: A value is unknown, missing or out of its bounds; `param` names it.
    """
    for name in given:
        if name not in definition.variables:
            known = ", ".join(definition.variables) or "it has none"
            raise _refused(name[:64], f"the agent has no such variable: {known}")
    values = {
        name: _value(variable, given.get(name), name)
        for name, variable in definition.variables.items()
    }
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), definition.instructions)


def _value(variable: Variable, given: object, name: str) -> str:
    value = variable.default if given is None else given
    if value is None:
        raise _refused(name, "a value is needed")
    _check_value(variable, value, f"variables.{name}")
    if isinstance(value, str):
        return inert(value.translate(_ESCAPES))
    return msgspec.json.encode(value).decode()


def _check_value(variable: Variable, value: object, param: str) -> None:
    fault = _fault(variable, value)
    if fault:
        raise InvalidRequest(f"{param}: {fault}", param=param)


def _fault(variable: Variable, value: object) -> str | None:
    """Return what is wrong with a value; None where nothing is."""
    match variable:
        case BooleanVariable():
            return None if isinstance(value, bool) else "must be true or false"
        case TextVariable():
            return _fault_of_text(variable, value)
        case IntegerVariable():
            known = isinstance(value, int) and not isinstance(value, bool)
        case NumberVariable():
            known = isinstance(value, int | float) and not isinstance(value, bool)
    if known and variable.minimum <= value <= variable.maximum:  # type: ignore[operator]
        return None
    kind = "a whole number" if isinstance(variable, IntegerVariable) else "a number"
    return f"must be {kind} from {variable.minimum} to {variable.maximum}"


def _fault_of_text(variable: TextVariable, value: object) -> str | None:
    if not isinstance(value, str):
        return "must be a text"
    if variable.choices and value not in variable.choices:
        return f"must be one of {', '.join(variable.choices)}"
    if len(value) > variable.max_length:
        return f"{len(value):,} characters are over the limit of {variable.max_length:,}"
    return None


def _check_declaration(variable: Variable, param: str) -> None:
    if isinstance(variable, IntegerVariable | NumberVariable):
        if variable.minimum > variable.maximum:
            raise InvalidRequest(f"{param}: minimum is above maximum", param=param)
    elif isinstance(variable, TextVariable) and any(
        len(choice) > variable.max_length for choice in variable.choices
    ):
        raise InvalidRequest(f"{param}: a choice is longer than max_length", param=param)
    if variable.default is not None:
        _check_value(variable, variable.default, f"{param}.default")


def _refused(name: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"variables.{name}: {reason}", param=f"variables.{name}")
