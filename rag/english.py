"""English words by rule: function words out, regular endings forgiven."""

LIGHT_SHARE = 0.4
"""Weight of a verb that nearly any sentence may have, beside another word's 1."""

FUNCTION_WORDS = frozenset(
    """a an the and or but if so of in on at to for from by with without about as into onto than
    then is are was were be been being am do does did doing done have has had having can could may
    might shall should will would must not no any some all each every both either neither
    what when where which who whom whose why how much many long often far soon i me my mine we our
    ours us you your yours he him his she her hers it its they them their theirs this that these
    those there here also too just only even still yet again please tell know say says whether
    give gives given get gets getting got go goes going make makes made let lets want wants like
    would happen happens happening possible allowed okay ok true exactly actually really entitled
    eligible up out per between during while until since someone anyone everyone anything something
    nothing person people else other others instead within anybody somebody off over under well
    im ive id youre dont doesnt isnt cant whats hows wheres whens lets""".split()  # noqa: SIM905 - prose reads best
)
_LIGHT = frozenset(
    """take takes taken taking use uses used using work works working need needs needed apply find
    start starts begin begins end ends ask expect keep bring send provide offer offers receive
    receives cover covers change changes put see show think look looking have come comes become
    allow allows set sets run runs try call called help supposed means able available""".split()  # noqa: SIM905 - the same
)
_ENDINGS = frozenset(
    """ s es ed d ing er ers r rs e y ies ied al als ment ments ion ions ation ations ly or ors ive
    ance ence ant ent able""".split()  # noqa: SIM905 - the same
) | {""}
_NUMBERS = {
    word: str(number)
    for number, names in enumerate(
        [
            *("one first once", "two second twice", "three third", "four fourth", "five fifth"),
            *("six sixth", "seven seventh", "eight eighth", "nine ninth", "ten tenth"),
        ],
        start=1,
    )
    for word in names.split()
}


def weight(word: str) -> float:
    """Return a casefolded word's weight: 0 for a function word, 1 for most others."""
    if word in FUNCTION_WORDS or (len(word) < 2 and not word.isdigit()):
        return 0.0
    return LIGHT_SHARE if word in _LIGHT else 1.0


def number(word: str) -> str:
    """Return a number word (`third`, `3rd`, `three`) as digits, any other word as it is."""
    if word[:-2].isdigit() and word[-2:] in {"st", "nd", "rd", "th"}:
        return word[:-2]
    return _NUMBERS.get(word, word)


def same_word(one: str, other: str) -> bool:
    """Tell whether two words differ in regular endings only (`salary`, `salaries`)."""
    if one == other:
        return True
    common = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        common += 1
    if common < 3 or 2 * common < max(len(one), len(other)):
        return False
    return all(_is_ending(word[common:], one[common - 1]) for word in (one, other))


def _is_ending(rest: str, before: str) -> bool:
    if rest in {"d", "r", "rs"}:  # `used`, but not `card`
        return before == "e"
    # `submitting`: a doubled consonant belongs to the ending.
    return rest.removeprefix(before) in _ENDINGS
