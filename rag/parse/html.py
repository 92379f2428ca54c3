"""HTML to readable text: blocks as paragraphs, headings as Markdown's, so that chunks know them."""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from rag.parse.tables import Spans, repeat_header

_DROPPED = ["script", "style", "noscript", "template", "svg", "head", "iframe", "nav"]
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
_UNSEEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\n\f]+")


def parse_html(markup: str) -> str:
    """Return the text a reader would see, without menus; style sheets are not looked into."""
    tree = LexborHTMLParser(markup)
    tree.strip_tags(_DROPPED)
    if tree.body is None:
        return ""
    reader = _Reader()
    _walk(tree.body, reader)
    return "".join(reader.parts)


class _Reader:
    """What was read so far, as parts of text, none of them empty."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._table_end = 0
        self._tables: list[Spans] = []

    def text(self, node: LexborNode) -> None:
        behind_space = bool(self.parts) and self.parts[-1].endswith(("\n", " "))
        if text := _text(node, behind_space=behind_space):
            self.parts.append(text)

    def enter(self, tag: str) -> None:
        if tag == "table":
            self._tables.append(Spans())
        elif tag == "tr" and self._tables:
            self._tables[-1].start_row()
        if opening := _opening(tag):
            self.parts.append(opening)
        if tag in _CELLS and self._tables:
            self._between(self._tables[-1].before())

    def leave(self, node: LexborNode, began: int) -> None:
        tag = node.tag or ""
        if tag in _CELLS:
            self._end_cell(node, began)
        elif tag == "tr":
            self._end_row(began)
        elif tag in _BLOCKS:
            if tag == "table":
                self._end_table(began)
            self.parts.append("\n\n")

    def _end_cell(self, node: LexborNode, began: int) -> None:
        """Put a cell in one line, unless it is a page's layout: long, or with a table inside."""
        text = ""
        inside = self.parts[began : began + _CELL_CHARS]  # no part is empty: as many are too long
        if sum(map(len, inside)) < _CELL_CHARS and began >= self._table_end:
            text = " ".join("".join(inside).split())
            self.parts[began:] = filter(None, [text])
        self.parts.append(_APART)
        if self._tables:
            self._between(
                self._tables[-1].add(text, _span(node, "colspan"), _span(node, "rowspan"))
            )

    def _between(self, cells: list[str]) -> None:
        self.parts += [part for cell in cells for part in (cell, _APART) if part]

    def _end_row(self, began: int) -> None:
        if self._tables and len(self.parts) > began:
            self._between(self._tables[-1].before())
        if self.parts[-1] == _APART:
            self.parts.pop()

    def _end_table(self, began: int) -> None:
        """Repeat the header of a long table that has no table inside, nor paragraphs."""
        self._tables.pop()
        text = "".join(self.parts[began:]) if began >= self._table_end else "\n\n"
        if "\n\n" not in text:
            lines = [line for line in text.split("\n") if line.strip()]
            self.parts[began:] = filter(None, [repeat_header(lines)])
        self._table_end = len(self.parts)


def _walk(root: LexborNode, reader: _Reader) -> None:
    """Walk without recursion: markup nests deeper than Python's stack."""
    stack: list[tuple[LexborNode, int]] = [(root, _ENTERING)]
    while stack:
        node, began = stack.pop()
        if node.tag == "-text":
            reader.text(node)
        elif began == _ENTERING and _is_hidden(node):
            continue
        elif began == _ENTERING:
            reader.enter(node.tag or "")
            stack.append((node, len(reader.parts)))
            children = list(node.iter(include_text=True))
            stack += [(child, _ENTERING) for child in reversed(children)]
        else:
            reader.leave(node, began)


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


def _is_hidden(node: LexborNode) -> bool:
    if node.tag == "body":
        return False  # until a script shows the page
    attributes = node.attributes
    return "hidden" in attributes or bool(_UNSEEN.search(attributes.get("style") or ""))


def _span(node: LexborNode, name: str) -> int:
    value = node.attributes.get(name) or ""
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 6 else 1
