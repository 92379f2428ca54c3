"""HTML to readable text: blocks as paragraphs, headings as Markdown's, so that chunks know them."""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from rag.parse.tables import repeat_header

_DROPPED = ["script", "style", "noscript", "template", "svg", "head", "iframe"]
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "dd", "div", "dl", "dt", "fieldset"),
    *("figcaption", "figure", "footer", "form", "header", "hr", "main", "nav", "ol", "p", "pre"),
    *("section", "table", "ul", *_HEADINGS),
}
_LINES = {"br", "tr", "li", "option", "caption"}
_CELLS = {"td", "th"}
_APART = " | "
_CELL_CHARS = 500
_ENTERING = -1
_SPACE = re.compile(r"[ \t\r\n\f]+")


def parse_html(markup: str) -> str:
    """Return the text a reader would see."""
    tree = LexborHTMLParser(markup)
    tree.strip_tags(_DROPPED)
    if tree.body is None:
        return ""
    parts: list[str] = []
    _collect(tree.body, parts)
    return "".join(parts)


def _collect(root: LexborNode, parts: list[str]) -> None:
    """Walk without recursion: markup nests deeper than Python's stack."""
    stack: list[tuple[LexborNode, int]] = [(root, _ENTERING)]
    table_end = 0
    while stack:
        node, began = stack.pop()
        tag = node.tag or ""
        if tag == "-text":
            if text := _text(node, behind_space=bool(parts) and parts[-1].endswith(("\n", " "))):
                parts.append(text)
        elif began == _ENTERING:
            parts += filter(None, [_opening(tag)])
            stack.append((node, len(parts)))
            children = list(node.iter(include_text=True))
            stack += [(child, _ENTERING) for child in reversed(children)]
        elif tag in _CELLS:
            _end_cell(parts, began, has_table=began < table_end)
        elif tag == "tr":
            _end_row(parts)
        elif tag in _BLOCKS:
            if tag == "table":
                if began >= table_end:
                    _end_table(parts, began)
                table_end = len(parts)
            parts.append("\n\n")


def _text(node: LexborNode, *, behind_space: bool) -> str:
    text = node.text_content or ""
    if node.parent is not None and node.parent.tag == "pre":
        return text
    text = _SPACE.sub(" ", text)
    return text.lstrip(" ") if behind_space else text


def _opening(tag: str) -> str:
    if tag in _BLOCKS:
        return "\n\n" + _HEADINGS.get(tag, "")
    if tag == "li":
        return "\n- "
    return "\n" if tag in _LINES else ""


def _end_cell(parts: list[str], began: int, *, has_table: bool) -> None:
    """Put a cell in one line, unless it is a page's layout: long, or with a table inside."""
    inside = parts[began : began + _CELL_CHARS]  # no part is empty: as many are too long
    if sum(map(len, inside)) < _CELL_CHARS and not has_table:
        parts[began:] = filter(None, [" ".join("".join(inside).split())])
    parts.append(_APART)


def _end_row(parts: list[str]) -> None:
    if parts[-1] == _APART:
        parts.pop()


def _end_table(parts: list[str], began: int) -> None:
    """Repeat the header of a long table that has no table inside, nor paragraphs."""
    text = "".join(parts[began:])
    if "\n\n" not in text:
        lines = [line for line in text.split("\n") if line.strip()]
        parts[began:] = filter(None, [repeat_header(lines)])
