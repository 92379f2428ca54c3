"""HTML to readable text: blocks as paragraphs, headings as Markdown's, so that chunks know them."""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

_DROPPED = ["script", "style", "noscript", "template", "svg", "head", "iframe"]
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "dd", "div", "dl", "dt", "fieldset"),
    *("figcaption", "figure", "footer", "form", "header", "hr", "main", "nav", "ol", "p", "pre"),
    *("section", "table", "ul", *_HEADINGS),
}
_LINES = {"br", "tr", "li", "option", "caption"}
_CELLS = {"td", "th"}
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
    stack: list[tuple[LexborNode, bool]] = [(root, True)]
    while stack:
        node, entering = stack.pop()
        tag = node.tag or ""
        if tag == "-text":
            if text := _text(node, at_line_start=bool(parts) and parts[-1].endswith("\n")):
                parts.append(text)
            continue
        parts.append(_opening(tag) if entering else _closing(tag))
        if entering:
            stack.append((node, False))
            children = list(node.iter(include_text=True))
            stack += [(child, True) for child in reversed(children)]


def _text(node: LexborNode, *, at_line_start: bool) -> str:
    text = node.text_content or ""
    if node.parent is not None and node.parent.tag == "pre":
        return text
    text = _SPACE.sub(" ", text)
    return text.lstrip(" ") if at_line_start else text


def _opening(tag: str) -> str:
    if tag in _BLOCKS:
        return "\n\n" + _HEADINGS.get(tag, "")
    if tag == "li":
        return "\n- "
    return "\n" if tag in _LINES else ""


def _closing(tag: str) -> str:
    if tag in _BLOCKS:
        return "\n\n"
    return " | " if tag in _CELLS else ""
