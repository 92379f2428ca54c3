"""What prompt injections usually say, in English and Korean, and how much each saying weighs.

No repetition is without a bound: a match is shorter than `text.SHARED`, a search takes time in
proportion to the text.
"""

import re

_S = r"[\W_]{1,8}"
_OLD = "(?:previous|prior|above|earlier|preceding|former|existing|original|initial|system|your)"
_RULES = "(?:instructions?|prompts?|rules?|directions?|directives?|guidelines?|commands?)"
_DROP = "(?:ignore|disregard|forget|override|bypass|overrule)"
_FILLERS = rf"(?:{_S}(?:all|any|every|of|the|these|those|my|your|everything)){{0,4}}"
_KINDS = rf"(?:{_S}(?:system|developer|given|safety)){{0,2}}"
_TELL = "(?:reveal|show|print|repeat|output|display|leak|dump|give|tell)"
_TELL_FILLERS = rf"(?:{_S}(?:me|us|out|to|the|of|all|back|exact|full|entire|hidden)){{0,5}}"
_SECRET = f"(?:your|system|developer|initial|secret){_S}(?:system{_S})?"
_WORDS = rf"(?:[a-z]{{1,12}}{_S}){{0,3}}"
_NEAR = r"[^.!?\n]{0,16}?"
_KO_OLD = "(?:이전|앞선|앞의|앞서|위의|위에|지금까지|기존|원래|시스템|모든)"
_KO_RULES = "(?:지시|지침|명령|규칙|프롬프트|설정|제약)"
_KO_DROP = "(?:무시|잊어|잊고|따르지|버리|버려|무효|덮어|우회|어기|어겨)"
_KO_TELL = "(?:알려|보여|출력|공개|말해|반복|노출)"
_KO_JOIN = rf"(?:들?[은는을를]|사항[은을])?{_S}(?:(?:전부|모두|다|싹){_S})?"

_WEIGHED = {
    rf"\b{_DROP}{_FILLERS}{_S}{_OLD}{_KINDS}{_S}{_RULES}\b": 0.9,
    rf"\b{_DROP}{_S}(?:all|any|everything){_S}{_WORDS}{_RULES}\b": 0.9,
    rf"\bforget{_S}(?:everything|all){_S}(?:you|above|before|that)\b": 0.8,
    rf"\bdo{_S}not{_S}(?:follow|obey){_FILLERS}{_S}{_OLD}{_KINDS}{_S}{_RULES}\b": 0.8,
    rf"{_KO_OLD}{_NEAR}{_KO_RULES}{_NEAR}{_KO_DROP}": 0.9,
    rf"{_KO_RULES}{_KO_JOIN}(?:무시|잊어|우회)": 0.7,
    rf"\b{_TELL}{_TELL_FILLERS}{_S}{_SECRET}(?:prompts?|instructions?)\b": 0.75,
    rf"(?:시스템|숨겨진|초기|개발자){_S}(?:프롬프트|지시|메시지){_NEAR}{_KO_TELL}": 0.75,
    r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id)\|>": 0.8,
    r"\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>": 0.8,
    r"#{2,4} ?(?:system|instructions?|시스템|지시) ?:": 0.4,
    rf"\byou{_S}are{_S}now{_S}(?:dan|jailbroken|unrestricted)\b": 0.75,
    rf"\b(?:jailbreak|developer|god|dan){_S}mode{_S}(?:enabled|on|activated)\b": 0.75,
    rf"(?:탈옥|개발자|관리자){_S}모드[로를가]?{_S}(?:전환|활성|켜|들어|바꿔|동작)": 0.7,
    rf"\b(?:pretend|act){_S}(?:that|like){_S}you{_S}have{_S}no{_S}(?:rules|limits)\b": 0.5,
}

LIKELY = re.compile(
    r"ignore|disregard|forget|overr|bypass|obey|follow|reveal|prompt|instruction|<[|<se]|\[/?inst"
    f"|#[ #]|now|mode|모드|메시지|no{_S}[rl]|{_KO_RULES}",
    re.IGNORECASE,
)
"""No rule is met where this is not."""

WEIGHTS = tuple((re.compile(rule, re.IGNORECASE), weight) for rule, weight in _WEIGHED.items())
"""Rule, and from 0 to 1 how sure it makes."""

LOOSE = tuple(
    re.compile(
        rule.replace(_WORDS, r"[a-z\W_]{0,60}").replace(_S, r"[\W_]{0,8}").replace(r"\b", ""),
        re.IGNORECASE,
    )
    for rule in _WEIGHED
)
"""The same rules where nobody can tell where words end."""
