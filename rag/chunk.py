"""Pages to chunks: whole paragraphs, else whole sentences, up to a size; headings start a new one.

A chunk is a span of its page, so its content is verbatim and never crosses a page. There is no
overlap: at the default size it moves nDCG@10 by 0.02 points (KorQuAD).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag.types import Chunk, Page

_BLOCK = re.compile(r"[^\n]*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*")
_TITLE = re.compile(r"^.*[^\W\d_].*$", re.MULTILINE)
_LINE = re.compile(r"[^\n]*\S[^\n]*")
# A sentence ends behind . ! ? and the like before white space; Korean ones also where the full
# stop was left out behind a final verb ending.
_SENTENCE_END = re.compile(
    r"(?<=[.!?。！？…])[\"'”’)\]]*\s+|(?<=[가-힣][다요죠까])\s*\n+|(?<=[。！？])|\n+"
)
_WORD_END = re.compile(r"\s+")

_MARKDOWN = re.compile(r"(#{1,6})\s+(\S.*?)\s*#*\s*$")
_KOREAN = re.compile(r"제\s?\d+\s?([편장절관조])(?:의\s?\d+)?(?:\s|\(|$)")
# Not `1. `: lists are numbered so.
_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2}){1,3})\.?\s+\S")
_ENGLISH = re.compile(r"(Part|Chapter|Article|Section|Appendix)\s+[\dIVXA-Z]+\b", re.IGNORECASE)
_HEADING_CHARS = 80
_HEAD_CHARS = 200
_KOREAN_LEVELS = "편장절관조"
_PROSE_END = re.compile(r"[.!?,;:。]$|다$|요$|함$|음$|것$")


@dataclass(frozen=True, slots=True)
class _Span:
    """Part of a page; `level` is a heading's, 0 for other text."""

    start: int
    end: int
    level: int = 0


def chunk_pages(pages: Sequence[Page], chunk_chars: int) -> list[Chunk]:
    """Cut pages into chunks of up to `chunk_chars` characters; headings hold over page breaks."""
    chunks: list[Chunk] = []
    path: list[tuple[int, str]] = []
    for page in pages:
        for group in _groups(page.text, chunk_chars):
            for span in group:
                _descend(path, span, page.text)
            start, end = _trim(page.text, group[0].start, group[-1].end)
            heading = " > ".join(title for _, title in path)
            content = page.text[start:end]
            chunks.append(Chunk(len(chunks), page.number, start, end, content, heading))
    return chunks


def document_head(chunks: Sequence[Chunk]) -> str:
    """Return what a document says first, from its first line with a word; up to 200 characters."""
    found = _TITLE.search(chunks[0].content) if chunks else None
    return found.string[found.start() :][:_HEAD_CHARS].strip() if found else ""


def indexed_text(chunk: Chunk, source: str, head: str = "") -> str:
    """Return what is indexed of a chunk: where it stands, then its content.

    That is the file's name, the first line of the document's head where one is given, the headings.
    """
    title = head.partition("\n")[0][:_HEADING_CHARS].strip()
    context = [source, *([title] if title not in chunk.heading else []), chunk.heading]
    return "\n".join([*filter(None, context), chunk.content])


def _groups(text: str, limit: int) -> Iterator[list[_Span]]:
    """Pack spans while they fit; a heading opens a new group unless the group is headings only."""
    group: list[_Span] = []
    for span in _spans(text, limit):
        full = group and span.end - group[0].start > limit
        new_section = span.level and any(not member.level for member in group)
        if full or new_section:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _spans(text: str, limit: int) -> Iterator[_Span]:
    for block in _BLOCK.finditer(text):
        for span in _split_headings(text, block.start(), block.end()):
            if span.end - span.start <= limit:
                yield span
            else:
                yield from _split(text, span, limit)


def _split_headings(text: str, start: int, end: int) -> Iterator[_Span]:
    """Yield a block's headings apart from the text between them."""
    body_start = start
    for line in _LINE.finditer(text, start, end):
        if level := heading_level(line[0]):
            if body_start < line.start():
                yield _Span(body_start, line.start())
            yield _Span(line.start(), line.end(), level)
            body_start = line.end()
    if text[body_start:end].strip():
        yield _Span(body_start, end)


def _split(text: str, span: _Span, limit: int) -> Iterator[_Span]:
    """Cut a long span behind sentences, those too long behind words, those too long anywhere."""
    for start, end in _cut(text, span.start, span.end, _SENTENCE_END):
        if end - start <= limit:
            yield _Span(start, end)
            continue
        for word_start, word_end in _cut(text, start, end, _WORD_END):
            for hard_start in range(word_start, word_end, limit):
                hard_end = min(hard_start + limit, word_end)
                if text[hard_start:hard_end].strip():
                    yield _Span(hard_start, hard_end)


def _cut(text: str, start: int, end: int, edge: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Yield the spans between edges; the edge's own text belongs to neither but to the left."""
    for match in edge.finditer(text, start, end):
        if text[start : match.end()].strip():
            yield start, match.end()
            start = match.end()
    if text[start:end].strip():
        yield start, end


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave white space at both ends out."""
    span = text[start:end]
    return start + len(span) - len(span.lstrip()), end - len(span) + len(span.rstrip())


def heading_level(line: str) -> int:
    """Return how deep a heading this line is (1 is outermost), 0 when it is none.

    Markdown's, Korean statutes' (제1장, 제2조), numbered ones (2.1 Leave), Chapter and Article.
    """
    line = line.strip()
    if match := _MARKDOWN.match(line):
        return len(match[1])
    if len(line) > _HEADING_CHARS or _PROSE_END.search(line):
        return 0
    if match := _KOREAN.match(line):
        return _KOREAN_LEVELS.index(match[1]) + 1
    if match := _NUMBERED.match(line):
        return match[1].count(".") + 1
    if match := _ENGLISH.match(line):
        return ("part", "chapter", "article", "section", "appendix").index(match[1].lower()) + 1
    return 0


def _descend(path: list[tuple[int, str]], span: _Span, text: str) -> None:
    """Enter a heading: those as deep or deeper are left."""
    if not span.level:
        return
    while path and path[-1][0] >= span.level:
        path.pop()
    path.append((span.level, text[span.start : span.end].strip().lstrip("#").strip()))
