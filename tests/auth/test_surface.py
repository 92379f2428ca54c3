"""The public names are the ones that were meant."""

import ast
from pathlib import Path
from types import ModuleType

import auth

ROOT = Path(auth.__file__).parents[1]


def test_the_public_names_are_the_meant_ones() -> None:
    public = {name for name in vars(auth) if not name.startswith("_")}
    public -= {name for name in public if isinstance(getattr(auth, name), ModuleType)}
    assert public == set(auth.__all__)
    assert auth.__all__ == sorted(set(auth.__all__))


def test_callers_are_made_here_alone() -> None:
    makers = {
        str(file.relative_to(ROOT))
        for package in ("auth", "config", "gateway", "rag")
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("TenantScope")
    }
    # The job worker acts for the tenant whose file or source it reads, or whom an agent's file
    # names: nobody asks it anything.
    elsewhere = {maker for maker in makers if not maker.startswith("auth/")}
    assert elsewhere == {"gateway/agents/files.py", "rag/prepare.py", "rag/sync/run.py"}
