"""What of a message asks: greetings, thanks and the request for an answer are no part of it."""

import re
from dataclasses import dataclass
from functools import lru_cache

from rag import korean

# A comma ends a clause behind an ending (`…는데요, `), not in a list; `E. E.`, `Dr.` end none.
_CLAUSE = re.compile(
    r"(?<=[.!?。？！])(?<![A-Z]\.)(?<!\b[A-Z][a-z]\.)(?<!\bMrs\.)(?<!\b(?:vs|no)\.)\s+|\n+|(?<=[가-힣][요만데],)|(?<=니다,)"
)
_STATED = re.compile(r"[.!,。！]$")
_ASKS = re.compile(
    r"[?？]$|^(?:please )?(?:tell|show|explain|give|list|find|describe)\b", re.IGNORECASE
)
_WORD = re.compile(r"[가-힣]+")
# A plain `알려 주세요` stays: it is the only verb that its question has.
_REQUEST = re.compile(
    r"(?<!\s)\s*(?:부탁|여쭤|여쭙|여쭈|궁금|바랍|고맙|감사(?=합|하겠|드)|알 ?수 ?있|알고 ?싶|"
    r"(?<=지) ?(?:알려|가르쳐)(?![야져])|(?:알려|가르쳐) ?주[시실]|"
    r"(?:확인|답변|설명|안내|말씀|회신|문의|질문)[을를]? ?(?:좀 ?)?"
    r"(?:부탁|드[려리립]|[하해] ?주|바랍))[가-힣]{0,12}"
    r"(?:\s+(?:주|줄|수|있|될|되|하|해|감사|고맙|드|싶|부탁|바랍|봐|보|여쭤|여쭙|문의)[가-힣]{0,8}){0,6}[.!?~？]*$"
)
_FRAME = re.compile(
    r"^(?:안녕하[가-힣]*|(?:hi|hello|hey|good (?:morning|afternoon|evening))\b"
    r"(?: (?:there|all|everyone|team)\b)?)[\s,.!:]*|(?<![가-힣])혹시(?![가-힣])|"
    r"\b(?:can|could|would|will) (?:you|someone|anyone) (?:(?:please|kindly) )?"
    r"(?:tell|let|inform)(?: me| us)?(?: know)?\b:?|"
    r"[,;.]?\s?\b(?:many )?thank(?:s\b| you\b)[^?]{0,80}$",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True, slots=True)
class Asked:
    """A message in parts.

    Attributes:
        question: What it asks; all of it where nothing does.
        context: What it states beside: `I'm new here.`, `규정집을 찾아봤는데요,`.
        aside: What stands in parentheses: a gloss, or what a follow-up leans on.
        whole: All of them, in their order.
    """

    question: str
    context: str
    aside: str
    whole: str


@lru_cache(maxsize=256)
def asked(message: str) -> Asked:
    """Tell a message's question from what stands around it; its words stay as they are."""
    plain, aside = _ASIDE.sub(" ", message), " ".join(_ASIDE.findall(message))
    clauses = [bare for clause in _CLAUSE.split(plain) if (bare := clause.strip())]
    marked = any(map(_ASKS.search, clauses))
    parts: tuple[list[str], list[str]] = ([], [])
    for clause in clauses:
        parts[_is_stated(clause, marked=marked)].append(_bare(clause))
    question, context = (" ".join(filter(None, part)) for part in parts)
    whole = " ".join(filter(None, map(_bare, clauses))) or plain.strip()
    if not question:
        question, context = whole, ""
    return Asked(question, context, aside, f"{whole} ({aside})" if aside else whole)


def _is_stated(clause: str, *, marked: bool) -> bool:
    """Tell whether a clause is no question; where another has its mark, its words do not ask."""
    if not _STATED.search(clause):
        return False
    if clause.endswith(","):
        return True
    words = [] if marked else _WORD.findall(clause)
    asks = _ASKS.search(clause) or _REQUEST.search(clause) or any(map(korean.ASKING.match, words))
    return not asks


def _bare(clause: str) -> str:
    """Take greetings, thanks and requests off a clause."""
    return korean.spaced(_REQUEST.sub("", _FRAME.sub(" ", clause))).strip()
