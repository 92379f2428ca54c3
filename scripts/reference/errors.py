"""The page of all error codes, from where they are raised."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gateway.app  # noqa: F401 - so that every error is defined
from auth.errors import AuthError, RegistrationError
from gateway import errors
from gateway.errors import GatewayError, InvalidRequest, UpstreamRefused
from scripts.reference.text import cell, summary

_ROOT = Path(__file__).parents[2]
_AUTH_TYPES = {401: "authentication_error", 403: "permission_error"}
_Kinds = dict[str, type[GatewayError]]
_Names = dict[str, ast.expr]


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
        "the message say all. Of a hosted model's or an engine's 400, 413 and 422 its own message, "
        "`param` and `code`\nare passed on; its other statuses have the codes below. On `/oauth/…` "
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
    """Yield the errors that are made with a code of their own."""
    own = {kind.__name__: kind for kind in _tree(GatewayError)}
    # What rag refuses with a code is passed on with it.
    of_rag = dict.fromkeys(("TextRefused", "ReindexRefused"), InvalidRequest)
    for folder, kinds in (("gateway", own), ("rag", of_rag)):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            reader = _Reader(ast.parse(path.read_text()), kinds)
            reader.read()
            yield from reader.found


@dataclass(frozen=True)
class _Maker:
    """A function that returns an error."""

    kind: type[GatewayError]
    function: ast.FunctionDef

    def filled(self, call: ast.Call) -> dict[str, ast.expr]:
        """Return the values of its parameters in a call."""
        names = [each.arg for each in self.function.args.args if each.arg != "self"]
        defaults = self.function.args.defaults
        usual = dict(zip(reversed(names), reversed(defaults), strict=False))
        named = {each.arg: each.value for each in call.keywords if each.arg}
        return usual | dict(zip(names, call.args, strict=False)) | named

    def message(self) -> ast.expr | None:
        """Return what the error says, with the parameters unfilled."""
        calls = [each for each in ast.walk(self.function) if isinstance(each, ast.Call)]
        made = (each for each in calls if _called(each) == self.kind.__name__ and each.args)
        return next((each.args[0] for each in made), None)


class _Reader(ast.NodeVisitor):
    """Finds the errors that a module makes; names mean what their function says, or the module."""

    def __init__(self, module: ast.Module, kinds: _Kinds) -> None:
        self.found: list[Fault] = []
        self._module = module
        self._kinds = kinds
        self._functions: list[ast.AST] = []
        self._makers = {
            each.name: _Maker(kinds[each.returns.id], each)
            for each in ast.walk(module)
            if isinstance(each, ast.FunctionDef)
            and isinstance(each.returns, ast.Name)
            and each.returns.id in kinds
        }

    def read(self) -> None:
        """Look at all of the module."""
        self.visit(self._module)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """An error's class names itself in `__init__`."""
        outside = self._kinds
        if node.name in outside:
            self._kinds = outside | {"__init__": outside[node.name]}
        self.generic_visit(node)
        self._kinds = outside

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """A function has names of its own."""
        self._functions.append(node)
        self.generic_visit(node)
        self._functions.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Call(self, node: ast.Call) -> None:
        """An error is made, or a function called that makes one."""
        name, names = _called(node), self._names_at(node.lineno)
        if maker := self._makers.get(name):
            filled = maker.filled(node)
            within = _assigned(ast.walk(maker.function))
            self._add(maker.kind, filled.get("code"), maker.message(), names | within | filled)
        elif name in self._kinds:
            code = next((each.value for each in node.keywords if each.arg == "code"), None)
            self._add(self._kinds[name], code, node.args[0] if node.args else None, names)
        self.generic_visit(node)

    def _names_at(self, line: int) -> _Names:
        """Return what names mean there: what was assigned last."""
        names = _assigned(self._module.body)
        for function in self._functions:
            before = (each for each in ast.walk(function) if getattr(each, "lineno", line) < line)
            names |= _assigned(before)
        return names

    def _add(
        self,
        kind: type[GatewayError],
        code: ast.expr | None,
        message: ast.expr | None,
        names: _Names,
    ) -> None:
        told = _message(code, names) if code else "…"
        # What an upstream refuses has the status and the code that it gave.
        if told.startswith("…") or issubclass(kind, UpstreamRefused):
            return
        says = _message(message, names) if message else ""
        self.found.append(Fault(told, kind.status, kind.type, says))


def _assigned(nodes: Iterable[ast.AST]) -> _Names:
    return {
        to.id: each.value
        for each in nodes
        if isinstance(each, ast.Assign)
        for to in each.targets
        if isinstance(to, ast.Name)
    }


def _called(node: ast.Call) -> str:
    """Return the name of what is called; `__init__` where that is a class's own."""
    return getattr(node.func, "id", "") or getattr(node.func, "attr", "")


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
                names = _assigned(ast.walk(function))
                yield Fault(code, status, kind, _message(call.args[0], names))


def _is(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == name


def _constant(call: ast.Call, name: str, position: int) -> object:
    if not _is(call, name) or len(call.args) <= position:
        return None
    argument = call.args[position]
    return argument.value if isinstance(argument, ast.Constant) else None


def _message(node: ast.expr, names: _Names) -> str:
    """Return a message with `…` for what is known only when it is sent."""
    if isinstance(node, ast.FormattedValue):
        return _message(node.value, names)
    if isinstance(node, ast.Name):
        # A name that stands for itself is not looked up again.
        others = {name: value for name, value in names.items() if name != node.id}
        return _message(names[node.id], others) if node.id in names else "…"
    if isinstance(node, ast.Constant):
        return str(node.value) if node.value is not None else "…"
    if isinstance(node, ast.JoinedStr):
        parts = [_message(each, names) for each in node.values]
        return re.sub("…+", "…", "".join(parts))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _message(node.left, names) + _message(node.right, names)
    return "…"


def _tree(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _tree(each)
