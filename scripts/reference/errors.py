"""The page of all error codes, from where they are raised."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gateway.app  # noqa: F401 - so that every error is defined
from auth.errors import AuthError, RegistrationError
from gateway import errors
from gateway.errors import GatewayError
from scripts.reference.text import cell, summary

_ROOT = Path(__file__).parents[2]
_AUTH_TYPES = {401: "authentication_error", 403: "permission_error"}
_Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_Kinds = dict[str, type[GatewayError]]


@dataclass(frozen=True, order=True)
class Fault:
    """One way to fail: its code, its answer, and what the message says."""

    code: str
    status: int
    type: str
    message: str


def errors_page() -> str:
    """Return the page of all error codes."""
    lead = (
        "# Error codes\n\nEvery `code` of an error of ours, written from the code by "
        "`make reference`. `…` stands for what belongs to the\nrequest. The object is OpenAI's: "
        '`{"error": {"message", "type", "param", "code"}}`; `code` is null where the\nstatus and '
        "the message say all. A hosted model's own codes are passed on as they are. On `/oauth/…` "
        "the\nobject is RFC 6749's. [guide.md](../guide.md#errors-and-retries) says which to try "
        "again, and when.\n\n"
    )
    rows = [f"| `{f.code}` | {f.status} | `{f.type}` | {cell(f.message)} |\n" for f in _faults()]
    return lead + "| code | status | type | message |\n|---|---|---|---|\n" + "".join(rows)


def _faults() -> list[Fault]:
    """Return every fault with a code, each code and status once: the one that says most."""
    found = dict[tuple[str, int], Fault]()
    for fault in [*_raised(), *_of_auth(), *_mapped()]:
        other = found.get((fault.code, fault.status))
        if other is None or len(fault.message) > len(other.message):
            found[fault.code, fault.status] = fault
    return sorted(found.values())


def _raised() -> Iterator[Fault]:
    """Yield the errors of the gateway that are made with a code of their own."""
    kinds = {kind.__name__: kind for kind in _tree(GatewayError)}
    for path in sorted((_ROOT / "gateway").rglob("*.py")):
        module = ast.parse(path.read_text())
        nodes = list(ast.walk(module))
        made = {
            each.name: kinds[each.returns.id]
            for each in nodes
            if isinstance(each, ast.FunctionDef)
            and isinstance(each.returns, ast.Name)
            and each.returns.id in kinds
        }
        for scope in nodes:
            if isinstance(scope, _Scope):
                yield from _raised_in(scope, kinds | made)


def _raised_in(scope: _Scope, kinds: _Kinds) -> Iterator[Fault]:
    if isinstance(scope, ast.ClassDef) and scope.name in kinds:
        kinds = kinds | {"__init__": kinds[scope.name]}
    for call in ast.walk(scope):
        name = _called(call)
        if not isinstance(call, ast.Call) or name not in kinds:
            continue
        code = next((each.value for each in call.keywords if each.arg == "code"), None)
        if isinstance(code, ast.Constant) and isinstance(code.value, str):
            message = _message(call.args[0], scope) if call.args else ""
            yield Fault(code.value, kinds[name].status, kinds[name].type, message)


def _called(node: ast.AST) -> str:
    """Return the name of what is called; `__init__` where that is a class's own."""
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "id", "") or getattr(function, "attr", "")


def _of_auth() -> Iterator[Fault]:
    """Yield what a protected resource answers to bad credentials."""
    for kind in (*_tree(AuthError), *_tree(RegistrationError)):
        code, status = kind.__dict__.get("code"), getattr(kind, "status", None)
        if isinstance(code, str) and isinstance(status, int):
            answer = _AUTH_TYPES.get(status, "invalid_request_error")
            yield Fault(code, status, answer, summary(kind).rstrip("."))


def _mapped() -> Iterator[Fault]:
    """Yield what the errors of other packages become."""
    for function in ast.parse(Path(errors.__file__).read_text()).body:
        if not isinstance(function, ast.FunctionDef):
            continue
        calls = [each for each in ast.walk(function) if isinstance(each, ast.Call)]
        status = next((_constant(each, "Answer", 0) for each in calls if _is(each, "Answer")), None)
        for call in calls:
            kind, code = _constant(call, "ErrorObject", 1), _constant(call, "ErrorObject", 3)
            if isinstance(code, str) and isinstance(kind, str) and isinstance(status, int):
                yield Fault(code, status, kind, _message(call.args[0], function))


def _is(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == name


def _constant(call: ast.Call, name: str, position: int) -> object:
    if not _is(call, name) or len(call.args) <= position:
        return None
    argument = call.args[position]
    return argument.value if isinstance(argument, ast.Constant) else None


def _message(node: ast.expr, scope: _Scope) -> str:
    """Return a message with `…` for what is known only when it is sent."""
    if isinstance(node, ast.Name):
        values = [
            each.value
            for each in ast.walk(scope)
            if isinstance(each, ast.Assign)
            and any(isinstance(to, ast.Name) and to.id == node.id for to in each.targets)
        ]
        return _message(values[-1], scope) if values else "…"
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = [_message(each, scope) for each in node.values]
        return re.sub("…+", "…", "".join(parts))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _message(node.left, scope) + _message(node.right, scope)
    return "…"


def _tree(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _tree(each)
