"""How the reference's pages are written."""

import inspect


def cell(text: str) -> str:
    """Return a text that can stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def summary(kind: type) -> str:
    """Return the first paragraph of a class's docstring."""
    return inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
