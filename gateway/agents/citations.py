"""`[n]` markers: kept only where passage n supports the sentence, renumbered by first use."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.openai.references import Reference
from rag import Claim, Embedder, Passage, Span, Support
from rag.sentences import sentences
from rag.verbatim import quoted
from rag.words import content_stems

_ONE = r"\[\d{1,3}(?:\s?,\s?\d{1,3}){0,4}\]"
_GROUP = re.compile(rf"[ \t]?{_ONE}(?:[ \t]?{_ONE}){{0,15}}")
_UNFINISHED = re.compile(r"[ \t]?(?:\[[\d,\s]{0,27})?\Z")
_CLOSING = r"[\"'”’」』)*_]*"
_ENDED = re.compile(rf"[.!?。！？…다요죠음함임]{_CLOSING}[ \t]*\Z")
_END_AHEAD = re.compile(rf"[ \t]*{_CLOSING}(?:[.!?。！？…]|\n)")
_TAIL_END = re.compile(rf"[.!?…]{_CLOSING}(?=\s)|[。！？\n]|(?P<marker>[ \t]?\[\d)")
# It begins anew: what goes on with a sentence is small, or follows without a space (`[1]에 따라`).
_ANEW = re.compile(r"\s+[\"'“‘「*_]*[^\W_a-z]")
_STATES = re.compile(rf"[:|=][ \t]*\S|\d\S*(?: (?:[가-힣]|[^\W\d_가-힣]{{1,7}}))?{_CLOSING}\Z")
_GOES_ON = re.compile(r"[가-힣](?:은|는|을|를|의|에|에서|으로|로)\Z")
_TAIL_CHARS = 240
"""So much of a sentence is waited for behind its marker."""
_SAID_CHARS = 1000
"""So much of the text before a marker is looked into."""


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What of a sentence stands behind its marker, as far as can be told.

    Attributes:
        text: Up to the sentence's end.
        next_marker: It ends at another marker before that.
        apart: It may be a sentence of its own, behind a fragment: it begins anew, or has a marker
            behind its end.
    """

    text: str = ""
    next_marker: bool = False
    apart: bool = False


class Citations:
    """Rewrites the markers of one answer as its text comes in, however it is split.

    A marker goes out when what its sentence says is known: mostly at once, in the middle of a
    sentence at its end, at the next marker, or after 240 characters. Text before it is not held.

    With `keep_unknown` a marker that names no passage stays, and any inside backticks: code.

    Attributes:
        cited: Indexes of the passages cited so far; the answer's `[1]` is the first of them.
        removed: How many markers named no passage.
        unsupported: How many named one that does not say what the sentence says.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        embedder: Embedder | None = None,
        *,
        keep_unknown: bool = False,
    ) -> None:
        self._passages = passages
        self._keep_unknown = keep_unknown
        self._support = Support(passages, embedder)
        self._held = ""
        self._said = ""
        self._skip = 0
        self._in_code = False
        self._claims = [Claim("")]
        self.cited: list[int] = []
        self.removed = 0
        self.unsupported = 0

    async def feed(self, text: str) -> str:
        """Take a part of the answer and return what of it is final."""
        self._held += text
        return await self._take(last=False)

    async def finish(self) -> str:
        """Return the rest."""
        return await self._take(last=True)

    @property
    def references(self) -> list[Reference]:
        """Return what the answer's markers point to, in their order."""
        spans = self._support.spans
        return [
            reference(number, self._passages[index], spans[index])
            for number, index in enumerate(self.cited, start=1)
        ]

    async def _take(self, *, last: bool) -> str:
        out = []
        while group := _GROUP.search(self._held):
            out.append(self._release(group.start()))
            behind = self._held[len(group[0]) :]
            ahead = _ahead(self._said, behind, last=last)
            if ahead is None:
                return "".join(out)
            out.append(await self._decide(group[0], ahead))
            self._held = behind
        unfinished = None if last else _UNFINISHED.search(self._held)
        out.append(self._release(unfinished.start() if unfinished else len(self._held)))
        return "".join(out)

    def _release(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        self._in_code ^= text.count("`") % 2 == 1
        self._said = (self._said + text[self._skip :])[-_SAID_CHARS:]
        self._skip = max(0, self._skip - length)
        return text

    async def _decide(self, group: str, ahead: _Ahead) -> str:
        """Return a group of markers as it goes out."""
        numbers = [int(number) - 1 for number in re.findall(r"\d+", group)]
        known = [n for n in dict.fromkeys(numbers) if 0 <= n < len(self._passages)]
        if self._keep_unknown and (self._in_code or not known):
            return group
        self._take_claims(ahead)
        supported: list[int] = []
        for claim in self._claims:
            supported = supported or await self._support.supporting(claim, known)
        self.removed += sum(not 0 <= n < len(self._passages) for n in numbers)
        self.unsupported += len(known) - len(supported)
        self.cited += [n for n in supported if n not in self.cited]
        markers = "".join(f"[{self.cited.index(n) + 1}]" for n in supported)
        return group[: group.index("[")] + markers if markers else ""

    def _take_claims(self, ahead: _Ahead) -> None:
        """Find what a marker may be said to support; one that follows a marker has the same."""
        said, self._said = self._said, ""
        before = "" if said.endswith("\n") else _last_sentence(said)
        if before:
            whole = before if ahead.next_marker else f"{before} {ahead.text}"
            self._claims = [Claim(whole, before)]
            if ahead.apart and _stands_alone(before):
                self._claims.append(Claim(before))
        elif content_stems(ahead.text):
            self._claims = [Claim(ahead.text)]
            self._skip = len(ahead.text)
        elif above := _last_sentence(said):
            self._claims = [Claim(above)]


def _ahead(said: str, behind: str, *, last: bool) -> _Ahead | None:
    """Return the rest of a marker's sentence, or None as long as it is not there.

    What it returns does not change when more comes: the splits of a stream must not matter.
    """
    if not last and _UNFINISHED.fullmatch(behind):
        return None  # another marker may follow
    if _ENDED.search(said) or _END_AHEAD.match(behind):
        return _Ahead()
    if end := _TAIL_END.search(behind, 0, _TAIL_CHARS):
        if end["marker"]:
            return _Ahead(behind[: end.start()], next_marker=True)
        return _up_to(end, behind, last=last)
    if last or len(behind) >= _TAIL_CHARS:
        return _Ahead(behind[:_TAIL_CHARS], apart=bool(_ANEW.match(behind)))
    return None


def _up_to(end: re.Match[str], behind: str, *, last: bool) -> _Ahead | None:
    """Return the rest of a sentence that ends there, or None while its own marker may come."""
    text, rest = behind[: end.end()], behind[end.end() :]
    if end[0] == "\n":
        return _Ahead(text, apart=bool(_ANEW.match(behind)))
    if not last and _UNFINISHED.fullmatch(rest):
        return None
    return _Ahead(text, apart=bool(_ANEW.match(behind) or _GROUP.match(rest)))


def _stands_alone(fragment: str) -> bool:
    """Tell whether a fragment says something: `무게: 142 g` does, `제24조` and `연차는` do not."""
    if _GOES_ON.search(fragment) or not _STATES.search(fragment):
        return False
    return len(content_stems(fragment)) > 1


def _last_sentence(said: str) -> str:
    """Return the last sentence that says something, with the whole of what it quotes."""
    for sentence in reversed(sentences(said)):
        if content_stems(said[sentence.start : sentence.end]):
            across = [q.start for q in quoted(said) if q.start < sentence.start < q.end]
            return said[min([sentence.start, *across]) : sentence.end]
    return ""


def reference(index: int, passage: Passage, span: Span) -> Reference:
    """Return what `[index]` in an answer points to: the place of the passage that says it."""
    return Reference(
        index=index,
        source=passage.source,
        page=passage.page,
        content=passage.content[span.start : span.end],
        score=round(passage.score, 4),
        document_id=passage.document_id,
        chunk_id=passage.chunk_id,
        start=passage.start + span.start,
        end=passage.start + span.end,
    )
