"""A follow-up made a question of its own, by rule: `그럼 3년 차는요?` gets what it is about.

What an ellipsis leans on comes in parentheses behind it: the search finds those words too, while
`rag.words` lets the follow-up's own words count for more. What a pronoun or a left-out subject
stands for comes without parentheses: it is part of the question.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from rag.words import content_stems

_LONGEST_CHAIN = 4
_HANGUL = re.compile(r"[가-힣]")

_KO_PRONOUN = re.compile(
    r"(?:^|\s)(?:그건|그거|그게|그걸|그것|그때|그중|그동안|거기|여기|이건|이거|이게|이걸|이것|저건|그런|그렇게|"
    r"그 (?:기간|돈|금액|날|휴가|비용|수당|경우|신청|사람|규정|서류|중|외|다음|후|전))"
)
_KO_OPENING = re.compile(r"^\s*(?:그럼|그러면|그렇다면|그리고|근데|그런데|또)[\s,]")
_KO_FRAGMENT = re.compile(
    r"[가-힣](?:은|는|도|만|에서|까지|부터|이면|라면|이라면|으로|로|면)\s*요?\s*[?？.!]*\s*$|이?요\s*[?？]+\s*$"
)
_KO_PREDICATE = re.compile(r"(?:[나가까어아여해세지죠줘돼]|예|에)요?\s*[?？.!]*\s*$")
_KO_TOPIC = re.compile(r".*[가-힣](?:은|는)(?=요?[\s?？]|$)")
_KO_ALSO = re.compile(r"^\s*[가-힣\d]+도\s")
_KO_ASPECT = frozenset(
    "신청 기한 기간 방법 서류 조건 대상 금액 한도 승인 마감 절차 지급 비용 이유 예외 횟수".split()  # noqa: SIM905 - reads as it is used
)

_EN_OPENING = re.compile(
    r"^\s*(?:and|but|then|also|(?:what|how) about|what if|same for)\b", re.IGNORECASE
)
_EN_PRONOUN = re.compile(
    r"\b(?:it|its|they|them|their|those|these)\b|"
    r"(?:^|\b(?:is|was|does|do|can|will|about|for|of|to|with|in|at|on|like) )(?:that|this)\b|"
    r"\bthere\s*[?.!]*$",
    re.IGNORECASE,
)
_EN_EXPLETIVE = re.compile(
    r"\b(?:is|was|will|would) it (?:be )?(?:possible|allowed|ok|okay|true|permitted|mandatory|"
    r"necessary|required|legal|fine|safe|better) \w+",
    re.IGNORECASE,
)
_EN_CLAUSE = re.compile(r"\b(?:if|when|because|while|after|before|once)\b|,", re.IGNORECASE)
_EN_VERB = re.compile(
    r"\b(?:what|when|where|which|who|whom|whose|why|how|is|are|was|were|do|does|did|can|could|may|"
    r"should|will|would|must|have|has|tell|explain|describe|list|show)\b",
    re.IGNORECASE,
)
_EN_FRAGMENT_WORDS = 5

_ASKING = re.compile(
    r"며칠|얼마나|얼마|언제|몇 ?[가-힣]|어디|누구|어떻게|"
    r"\bhow (?:many|much|long|often|soon)\b|\b(?:when|where|who)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+")


def rewrite(question: str, earlier: Sequence[str]) -> str:
    """Return what to search for; `earlier` holds the user's questions before, oldest first.

    A question that stands by itself comes back unchanged.
    """
    if not earlier:
        return question
    refers, elliptic = _refers(question), _is_elliptic(question)
    if not refers and not elliptic:
        return question
    before = rewrite(earlier[-1], earlier[-_LONGEST_CHAIN:-1])
    missing = " ".join(_missing(question, before))
    if not missing:
        return question
    return f"{question} {missing}" if refers else f"{question} ({missing})"


def _refers(question: str) -> bool:
    """Tell whether a pronoun, or nothing at all, stands for what the question is about."""
    if not any(share == 1 for share in content_stems(question).values()):
        return True
    if _HANGUL.search(question):
        return bool(_KO_PRONOUN.search(question))
    return _has_english_pronoun(question)


def _has_english_pronoun(question: str) -> bool:
    found = _EN_PRONOUN.search(_EN_EXPLETIVE.sub(" ", question))
    if not found:
        return False
    # `If my laptop is stolen, who do I tell about it?` says itself what `it` is.
    before = question[: found.start()]
    return not (_EN_CLAUSE.search(before) and content_stems(before))


def _is_elliptic(question: str) -> bool:
    """Tell whether the question is only the part that differs from the one before."""
    if _HANGUL.search(question):
        fragment = _KO_FRAGMENT.search(question) and not _KO_PREDICATE.search(question)
        nouns = {stem for stem, share in content_stems(question).items() if share == 1}
        begins = _KO_OPENING.match(question) or _KO_ALSO.match(question)
        return bool(fragment or begins or nouns <= _KO_ASPECT)
    if _EN_OPENING.match(question):
        return True
    return not _EN_VERB.search(question) and len(question.split()) <= _EN_FRAGMENT_WORDS


def _missing(question: str, before: str) -> list[str]:
    """Return the words of the earlier question that this one lacks and does not replace."""
    # What a rewritten question has in parentheses is topic already.
    topic = None if before.endswith(")") else _KO_TOPIC.match(before)
    own, earlier = list(content_stems(question)), list(content_stems(topic[0] if topic else before))
    gone = {*own, *_replaced(own, earlier)}
    kept = [stem for stem in earlier if stem not in gone and not _same_unit(stem, own)]
    asked = _ASKING.search(before)
    if not asked or _ASKING.search(question):
        return kept
    return [*kept, asked[0]] if _HANGUL.match(asked[0]) else [asked[0], *kept]


def _replaced(own: Sequence[str], earlier: Sequence[str]) -> set[str]:
    """Return words before a noun both have: `sick leave` puts `sick` where `annual` was."""
    before = {noun: word for word, noun in pairwise(own)}
    return {word for word, noun in pairwise(earlier) if before.get(noun, word) != word}


def _same_unit(stem: str, own: Sequence[str]) -> bool:
    """Tell whether a number of this unit is in the question already: `3년` beside `5년`."""
    unit = _NUMBER.sub("", stem)
    return unit != stem and any(_NUMBER.sub("", o) == unit != o for o in own)
