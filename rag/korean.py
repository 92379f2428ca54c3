"""Korean words by rule: particles and endings off, words without meaning of their own out.

No morphological analyser: for weighing a question's words against a text a stem need not be
right, only a prefix of the word as the text has it.
"""

import re
from functools import lru_cache

VERB_SHARE = 0.4
"""Weight of a verb beside a noun's 1: questions and texts choose their verbs freely."""
ACTION_SHARE = 0.7
"""Weight of a noun in a verb's place (`신청하려면`)."""

_ASKING = (
    "무엇|무슨|무어|뭐|뭔|뭘|언제|어디|어느|어떤|어떻|어찌|어떡|얼마|얼만|며칠|몇|누구|누가|왜|궁금|"
    "알려|가르쳐|말해|설명해|알고"
)
_LEANING = (
    "그럼|그러면|그렇|그리고|그런|그건|그거|그게|그것|그때|그중|그래|그동안|거기|여기|이거|이건|이게|"
    "이것|저는|제가|저희|우리|내가|나는|나도|저도|혹시|만약|만일|그냥|또한"
)
_GENERAL = (
    "대해|대한|관해|관한|관련|경우|정도|동안|때문|따라|따르|통해|위해|의해|있|없|같은|같이|않|아니|싶|"
    "가능|모두|전부|보통|혹은|또는|다시|가장|제일|최대|최소|기준|정확|대략|반드시|얼마나|"
    "그대로|이상|이하|이내|어떠|필요|괜찮|허용|자주|그러|빨리|일찍|늦게|많이|조금"
)
_LIGHT_VERB = (
    r"하(나|면|는|고|려|여|며|기|지|게|던|신|시|죠|니)|해(요|야|서|도|주|줘|줄|줍|줬)|한다|한가|할까|"
    r"할지|할수|합니|했|되(나|면|는|고|려|어|며|기|지|던|죠|니)|된다|될까|될지|됩니|됐|돼|주(나|면|는|시|세|실)|준다|"
    r"줍니|받(나|는|을|으|고|아|습)|나오나|나와|나요|인가|인지|입니|일까|예요|이에요|이죠|건가|"
    r"거죠|건지|것이|것은|것도|거예|걸까|해당|가지고"
)
_WITHOUT_MEANING = re.compile(f"({_ASKING}|{_LEANING}|{_GENERAL}|{_LIGHT_VERB})")
_ACTION = re.compile(
    r"(?<=[가-힣]{2})(하|되|받|시키|당하)(으?려|나요|는|면|고|지|며|여|기|게|실|신|던|자|도록|거나|더|"
    r"겠|시|셨|았|을|은).*$|(?<=[가-힣]{2})(한|할|함|합|해|했|된|될|됨|됩|돼|됐)"
    r"(다|요|까|지|야|서|도|니|나|주|줘|가|데|수|때|때는|뒤|후|은|는|을)?[가-힣]*$"
)
_VERB_ENDINGS = (
    r"으?려면|으?려고|나요|까요|[어아여]요|는지|은지|을지|습니[까다]|입니다|으면|면서|지만|는데|은데|"
    r"던데|[어아여]야|으며|거나|도록|다가|더라도|[어아여]도|[어아여]서|으니|니까|자마자|네요|군요|죠|"
    r"지요|을까|[었았]을?"
)
_VERB = re.compile(rf"({_VERB_ENDINGS}|(?<=[가-힣]{{2}})[면야])(는|은|요)?$")
_COPULAS = (
    "인가요|인지요|인지|인가|이에요|이예요|예요|이죠|이지요|입니까|입니다|일까요|"
    "이었나요|이나요|이요|요"
)
_COPULA = re.compile(rf"({_COPULAS})$")
ASKING = re.compile(
    "무엇|무슨|무어|뭐|뭔|뭘|언제|어디|어느|어떤|어떻|얼마|며칠|누구|누가|왜$|몇$|것[은이을인]|이름은$"
)
"""Begins a word that only asks."""
_PARTICLES = (
    r"으로부터|로부터|에서부터|에게서|이라도|이라면|이나마|만큼은|까지[는도만]?|부터[는도]?|에서[는도의]?|"
    r"에게[는도]?|에[는도]|으로[는도의]?|로[는도]|에선|에겐|한테|께서|마다|밖에|처럼|보다|만큼|조차|이랑|"
    r"하고|이나|이며|이고|인데|이면|과[는의]|와[는의]|이란|라면|라도|들[은이의을도]?|"
    r"[의은는이가을를에와과도만로나랑인란]"
)
PARTICLE = re.compile(rf"({_PARTICLES})$")
# Of a stem that is known, or of a word that only asks: read nowhere else, they may be generous.
_ENDING = re.compile(
    rf"(?:{_PARTICLES}|{_COPULAS}|[게지줘서]|"
    rf"(?:하|되|받|시키|당하)?(?:[었았였겠시]|으시)?(?:{_VERB_ENDINGS}|는가|[면야])|"
    r"(?:하|되|받|시키|당하)(?:는|고|면|며|여|기|게|신|던|은|을|아)|"
    r"[한함해된될됨돼]|[한할합해했된될됩돼됐](?:다|요|까요?|지|야|서|도|니까|니다|나요|가요|때))"
    r"(?:[도는은요]|까지|인가요|이에요|예요)?"
)
_COUNTED = (
    r"[\d몇](?:개월|시간|퍼센트|[천만억]?원|인당|"
    r"[년월일시분초주달명인번회살세개만천억조호층배점쪽][차당간]?)"
)
_EMPTY = re.compile(rf"{_COUNTED}|{_WITHOUT_MEANING.pattern}|[가-힣]?(?:수[있없]|때)")

# Before what asks and before `수 있나요`; behind a particle or a month that more follows.
_IN_RUN = re.compile(
    r"(?<=[가-힣]{2})(?=얼마|무엇|며칠|누구|어떻게|알려[주줘]|몇)|"
    r"(?<=[가-힣][은는이가을를의에도로])(?=언제|어디|무슨|누가|어떤|왜|뭐)|"
    r"(?:(?<=\d월)|(?<=\d분기))(?!까지|부터|에는)(?=[가-힣]{3})|"
    r"(?<=[가-힣]{4}[는를])(?=[가-힣]{2})|(?<=[가-힣]{4})(?=할?수[있없]|[있없]나)"
)


# Of two syllables and with one of these last, a word is a syllable and an ending.
_SYLLABLE = re.compile(
    r".(?:[는를에은]|인가요?|예요|이에요|이야|인지|으로|에서|까지|부터|에게|에는|(?<![화서측표정국장단반지])면)$"
)


_IF_NOUN = re.compile(r"(?<=[가-힣]{2})(?:이면|이라면)$")
_CAN_OR_WHEN = re.compile(r"(수|때|줄|뿐|만큼|동안)[가-힣]*$")
_MUST = re.compile(r"(하|해|할|합|한|되|돼|될|된)[가-힣]*$")
_FINAL_L = 8  # the place of ㄹ among the final consonants
_CONTRACTED = {"ㅝ": "ㅜ", "ㅘ": "ㅗ", "ㅕ": "ㅣ"}
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"


def stem(word: str, following: str = "") -> tuple[str, float] | None:
    """Return a Hangul word's stem and its weight, or None when it carries no meaning.

    `following` is the next word, which tells some verbs (`넘길 수`, `내야 하나요`). A stem has two
    syllables or more; one syllable says too little to be looked for.
    """
    if len(word) < 2 or _WITHOUT_MEANING.match(word) or _SYLLABLE.fullmatch(word):
        return None
    bare, share = word, 1.0
    if action := _ACTION.search(bare):
        bare, share = bare[: action.start()], ACTION_SHARE
    elif not _IF_NOUN.search(bare) and (verb := _VERB.search(bare)):
        bare, share = _uncontracted(bare[: verb.start()]), VERB_SHARE
    elif _is_verb_before(word, following):
        bare, share = _without_final(bare.removesuffix("야")), VERB_SHARE
    else:
        bare = _without(PARTICLE, _without(_COPULA, bare))
    return None if len(bare) < 2 or _SYLLABLE.fullmatch(bare) else (bare, share)


def is_empty(piece: str) -> bool:
    """Tell whether a piece of a run is no name of anything: `언제까지`, `쓸수있나요`, `3년`."""
    found = _EMPTY.match(piece)
    return found is not None and _may_end(piece[found.end() :])


def stem_ends(piece: str) -> list[int]:
    """Return where the stem of a piece of a run may end; at its own end in any case."""
    return [end for end in range(1, len(piece) + 1) if _may_end(piece[end:])]


@lru_cache(maxsize=8192)
def _may_end(rest: str) -> bool:
    """Tell whether a rest may stand behind a stem; a run has each in many pieces."""
    return not rest or _ENDING.fullmatch(rest) is not None


def spaced(text: str) -> str:
    """Part what asks from what it asks about: `지체상금은얼마인가요` has no space."""
    return _IN_RUN.sub(" ", text)


def _is_verb_before(word: str, following: str) -> bool:
    final = (ord(word[-1]) - ord("가")) % 28
    can = final == _FINAL_L and _CAN_OR_WHEN.match(following)
    return bool(can or (word.endswith("야") and _MUST.match(following)))


def _without_final(word: str) -> str:
    """Take the final consonant off the last syllable: `넘길` is `넘기`."""
    if not word:
        return word
    return word[:-1] + chr(ord(word[-1]) - (ord(word[-1]) - ord("가")) % 28)


def _uncontracted(verb: str) -> str:
    """Undo a contracted vowel: `바꿔` is `바꾸`."""
    if not verb:
        return verb
    initial, rest = divmod(ord(verb[-1]) - ord("가"), 588)
    vowel = _VOWELS[rest // 28]
    if rest % 28 or vowel not in _CONTRACTED:
        return verb
    plain = _VOWELS.index(_CONTRACTED[vowel])
    return verb[:-1] + chr(ord("가") + initial * 588 + plain * 28)


def _without(ending: re.Pattern[str], word: str) -> str:
    """Take an ending off, unless less than two syllables would remain (`휴가`)."""
    found = ending.search(word)
    return word[: found.start()] if found and found.start() >= 2 else word
