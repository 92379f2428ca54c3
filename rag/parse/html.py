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
_LINE_EDGES = re.compile(r" *\n *")


def parse_html(markup: str) -> str:
    """Return the text a reader would see."""
    tree = LexborHTMLParser(markup)
    tree.strip_tags(_DROPPED)
    if tree.body is None:
        return ""
    parts: list[str] = []
    _collect(tree.body, parts)
    return _LINE_EDGES.sub("\n", "".join(parts))


def _collect(root: LexborNode, parts: list[str]) -> None:
    """Walk without recursion: markup nests deeper than Python's stack."""
    stack: list[tuple[LexborNode, bool]] = [(root, True)]
    while stack:
        node, entering = stack.pop()
        tag = node.tag or ""
        if tag == "-text":
            parts.append(_text(node))
            continue
        parts.append(_opening(tag) if entering else _closing(tag))
        if entering:
            stack.append((node, False))
            children = list(node.iter(include_text=True))
            stack += [(child, True) for child in reversed(children)]


def _text(node: LexborNode) -> str:
    text = node.text_content or ""
    if node.parent is not None and node.parent.tag == "pre":
        return text
    return _SPACE.sub(" ", text)


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
