"""Addresses in an answer: none that neither the user nor a cited passage wrote.

An order in a document can make a model send its reader, or the reader's client, somewhere with what
the model knows in the address. So an address stays only where it stands, character for character,
in the question or in a passage cited up to the end of its line; pictures and HTML never stay.
"""

import re
from collections.abc import Sequence

from gateway.agents.inert import visible
from gateway.agents.prompt import is_korean
from rag import Passage

_MAX_HELD = 4000
_REMOVED = {True: "(링크 삭제)", False: "(link removed)"}

# Tags and bidi controls: in an answer they carry what its reader does not see.
_UNSEEN = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e0fff]")

_GAP = re.compile(r"[\s<>\"'`|^{}]")
_RUN = re.compile(r"[!-~]+")
_MARKER = re.compile(r"\[(\d{1,3})\]")
_SCHEMES = r"(?:javascript:|vbscript:|mailto:|data:(?:text|image|application|audio|video|font)/)"
# What may begin something to look at; whatever a pattern below changes begins in such a run. A code
# span, in which tags are words, is looked at as a whole.
_RISKY = re.compile(
    r"`|!\[|\[(?!\d{1,3}\](?![(:]))|\][(:]|<[a-z/!]|:[/\\]{2}|[/\\]{2}|www\.|"
    rf"\.[a-z]{{2,24}}[:/]|{_SCHEMES}",
    re.IGNORECASE,
)

_TAG = re.compile(
    r"</?(?:img|image|picture|source|i?frame|embed|object|video|audio|track|link|script|svg|style|"
    r"base|meta|form|input|button|a)\b[^>\n]*>?"
    r"|<[A-Za-z][^>\n]*\s(?:on\w+|src\w*|href|style|data|action|background|poster)\s?=[^>\n]*>?",
    re.IGNORECASE,
)
# Every other element of the HTML standard, obsolete ones too.
_WITHIN_WORDS = (
    "abbr|acronym|b|bdi|bdo|big|blink|cite|code|del|dfn|em|font|i|ins|kbd|mark|nobr|q|rb|rp|rt|rtc|"
    "ruby|s|samp|small|span|strike|strong|sub|sup|tt|u|var|wbr"
)
_BETWEEN_WORDS = (
    "address|applet|area|article|aside|basefont|bgsound|blockquote|body|br|canvas|caption|center|"
    "col|colgroup|data|datalist|dd|details|dialog|dir|div|dl|dt|fieldset|figcaption|figure|footer|"
    "frame|frameset|h[1-6]|head|header|hgroup|hr|html|isindex|keygen|label|legend|li|listing|main|"
    "map|marquee|math|menu|menuitem|meter|multicol|nav|nextid|noembed|noframes|noscript|ol|"
    "optgroup|option|output|p|param|plaintext|pre|progress|search|section|select|selectedcontent|"
    "slot|spacer|summary|table|tbody|td|template|textarea|tfoot|th|thead|time|title|tr|ul|xmp"
)
_ELEMENT = rf"(?:{_WITHIN_WORDS}|{_BETWEEN_WORDS})"
_MARKUP = re.compile(
    # A code span whose tags, if any, are bare; a tag; one that may go on in the next line.
    rf"(?<!`)(?P<code>`+)(?!`)(?:[^<\n]|<(?!/?{_ELEMENT}\b)|</?{_ELEMENT} ?/?>)*?"
    r"(?<!`)(?P=code)(?!`)"
    rf"|</?(?:(?P<within>{_WITHIN_WORDS})|{_BETWEEN_WORDS})(?:[\s/<][^>\n]*)?>"
    r"|<!(?:--|doctype\b)[^>\n]*>?"
    rf"|(?P<open><)(?=/?{_ELEMENT}(?:[\s/<][^>\n]*)?\Z)",
    re.IGNORECASE,
)
_PICTURE = re.compile(r"!+(?=\[(?!\d{1,3}\](?![(\[:])))")
_DEFINITION = re.compile(r"\]:[ \t]?")
_LINK = re.compile(r"\[([^\[\]\n]*)\]\(([^()\n]*(?:\([^()\n]*\)[^()\n]*)*)\)|\]\(")
_ADDRESS = re.compile(
    rf"(?:[a-z0-9+.-]{{2,32}}:[/\\]{{2,3}}|[/\\]{{2}}(?=[\w-]+\.)|www\.|{_SCHEMES})"
    r"[^\s<>\"'`|^{}]+"
    r"|(?<![a-z0-9.-])(?:[a-z0-9-]{1,63}\.){1,8}"
    r"(?!(?:pdf|md|html?|docx?|xlsx?|pptx?|hwpx?|txt|csv|json|py|js|ts|ya?ml)\b)[a-z]{2,24}"
    r"(?::\d{1,5})?/[^\s<>\"'`|^{}]*",
    re.IGNORECASE,
)
_AROUND = ".,;:!?()[]*_~…。、"
_PARTICLE = re.compile(
    r"(?:에서(?:는|도)?|에게|으로|로|에(?:는|도)?|을|를|은|는|이|가|와|과|의|도|까지|부터|"
    r"입니다|이다|이며|이고)$"
)


class Links:
    """Takes addresses out of one answer as its text comes in, however it is split.

    `[n]` in the text is the passage `cited[n - 1]`; `cited` may grow meanwhile. From something that
    may be an address the text is held to the end of its line, at most 4,000 characters.

    Attributes:
        removed: How many addresses were taken out.
        pictures: How many pictures were made links, or taken out.
    """

    def __init__(self, question: str, passages: Sequence[Passage], cited: Sequence[int]) -> None:
        self._passages = passages
        self._cited = cited
        self._allowed = _addresses(question)
        self._known: set[int] = set()
        self._note = _REMOVED[is_korean(question)]
        self._held = ""
        self._holding = False
        self.removed = 0
        self.pictures = 0

    def feed(self, text: str) -> str:
        """Take a part of the answer and return what of it is final."""
        self._held += _UNSEEN.sub("", text)
        final = ""
        while (part := self._next()) is not None:
            final += part
        return final

    def finish(self) -> str:
        """Return the rest."""
        return self._judged(self._take(len(self._held)))

    def _next(self) -> str | None:
        """Return the next part that is decided; None where more has to come."""
        if not self._holding:
            return self._take_harmless() if self._held else None
        end = self._held.find("\n", 0, _MAX_HELD)
        if end < 0 and len(self._held) < _MAX_HELD:
            return None
        self._holding = False
        if end < 0:
            # Never amid an address: its beginning alone may be known.
            end = max((gap.end() for gap in _GAP.finditer(self._held, 0, _MAX_HELD)), default=0)
        return self._judged(self._take(end)) if end else self._too_long()

    def _take_harmless(self) -> str | None:
        """Return what comes before the first run that is risky, or may go on."""
        for run in _RUN.finditer(self._held):
            long = len(run[0]) >= _MAX_HELD
            if run.end() == len(self._held) and not long:
                return self._take(run.start()) or None
            self._holding = long or bool(_RISKY.search(run[0]))
            if self._holding:
                return self._take(run.start())
        return self._take(len(self._held))

    def _too_long(self) -> str:
        self._take(_MAX_HELD)
        self._holding = True
        self.removed += 1
        return self._note

    def _take(self, end: int) -> str:
        taken, self._held = self._held[:end], self._held[end:]
        self._learn(taken)
        return taken

    def _learn(self, text: str) -> None:
        """Allow the addresses of the passages that the text cites."""
        for marker in _MARKER.finditer(text):
            number = int(marker[1])
            if 0 < number <= len(self._cited) and number not in self._known:
                self._known.add(number)
                passage = self._passages[self._cited[number - 1]]
                self._allowed |= _addresses(f"{passage.source}\n{passage.content}")

    def _judged(self, text: str) -> str:
        """Return the text without what may not stay: what is around that may be another one."""
        while (judged := self._judged_once(text)) != text:
            text = judged
        return text

    def _judged_once(self, text: str) -> str:
        text = _TAG.sub(self._without_tag, text)
        text = _MARKUP.sub(_without_markup, text)
        text = _PICTURE.sub(self._without_picture, text)
        # `[n]: address` would make a link, or a picture, of another `[n]`.
        text = _DEFINITION.sub("] ", text)
        text = _LINK.sub(self._plain_link, text)
        return _ADDRESS.sub(self._known_address, text)

    def _without_tag(self, found: re.Match[str]) -> str:
        self.pictures += found[0][:4].lower() == "<img"
        return " "

    def _without_picture(self, found: re.Match[str]) -> str:
        del found
        self.pictures += 1
        return ""

    def _plain_link(self, found: re.Match[str]) -> str:
        text, target = found.groups()
        if text is None:
            return "] ("
        if text.isdecimal():
            return f"[{text}] ({target})"
        if self._is_allowed(target.strip().split(" ")[0].strip("<>")):
            return found[0]
        self.removed += 1
        return str(text)

    def _known_address(self, found: re.Match[str]) -> str:
        if self._is_allowed(found[0]):
            return found[0]
        self.removed += 1
        address = _PARTICLE.sub("", found[0].rstrip(_AROUND)).rstrip(_AROUND)
        return self._note + found[0][len(address) :]

    def _is_allowed(self, address: str) -> bool:
        return not self._allowed.isdisjoint(_forms(address))


def _without_markup(found: re.Match[str]) -> str:
    if found["code"]:
        return found[0]
    if found["open"]:
        return "< "
    return "" if found["within"] else " "


def _addresses(text: str) -> set[str]:
    return {form for found in _ADDRESS.finditer(visible(text)) for form in _forms(found[0])}


def _forms(address: str) -> set[str]:
    """Return an address without what belongs to the sentence around it, a particle too."""
    bare = address.strip(_AROUND)
    return {bare.rstrip("/"), _PARTICLE.sub("", bare).strip(_AROUND).rstrip("/")} - {""}
