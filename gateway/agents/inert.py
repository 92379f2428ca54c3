"""Text of users and documents made inert before a model reads it.

What no reader sees is taken out, and what a chat template or our own fence would take for a mark
of its own gets other brackets: it says the same and marks nothing.
"""

import re
import unicodedata
from typing import Literal

Hazard = Literal["hidden_characters", "control_tokens", "fence", "image", "orders"]
"""What a text held that is not harmless; named in logs and traces."""

# Default_Ignorable_Code_Point of the Unicode Character Database: zero-width characters, bidi
# controls, variation selectors, tags, fillers; and control characters but tab and line feed.
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")

# Of the templates of Llama, Qwen, Gemma, Mistral, DeepSeek, EXAONE, Phi and those built on them.
# No blank space is unbounded here: a text of nothing else must not be read again and again.
_ANGLE_TOKENS = re.compile(
    r"""
    [<＜]{1,2}\ {0,2}
    (?:
        [|｜](?P<piped>[\w▁ .:/-]{1,70}?)[|｜]?
      | (?P<half>[\w▁ .:/-]{1,70}?)[|｜]
      | (?P<named>/?\ ?(?:
            s|bos|eos|pad|unk|mask|cls|sep|sop|eop|im_start|im_end|endoftext|inst|sys
          | system|user|assistant|developer|(?:start|end|begin)[_▁]of[_▁]\w{1,32}
          | (?:unused|extra_id|reserved)\w{0,32}|fim[_-]\w{1,16}|seed:\w{1,32}|think(?:ing)?
          | tools?|tool_\w{1,32}|function(?:s|_\w{1,32})?(?:=[\w.-]{1,64})?
          | invoke|parameter(?:=[\w.-]{1,64})?
        ))
    )
    \ {0,2}[>＞]{1,2}
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SQUARE_TOKENS = re.compile(
    r"""
    [\[［]\ {0,2}
    (?:
        [|｜](?P<piped>[\w▁ .:/-]{1,70}?)[|｜]
      | (?P<named>/?\ ?(?:
            (?i:inst|sys)|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_[A-Z]{1,32}|MODEL_SETTINGS|CALL_ID
          | ARGS|THINK|[gs]?MASK|BOS|EOS|PAD|CLS|SEP|UNK
        ))
    )
    \ {0,2}[\]］]
    """,
    re.VERBOSE,
)

_FENCES = ("passage", "summary")
_FENCE_WINDOW = 64
# What stands for `<`, beside its compatibility forms; and what looks like a letter of a fence.
_OPENING = re.compile("[<＜﹤‹〈〈⟨❮❬˂≺ᐸ《⟪«≪⪡]")
_LOOK_ALIKES = str.maketrans(
    dict(zip("аαᴀеεᴇѕꜱрρᴘɡցɢмᴍуγʏгʀυսᴜ", "aaaeeesspppgggmmyyyrruuu", strict=True))
)

_IMAGE = re.compile(r"!\[[^\]]{0,200}\]\s?[(\[]|<\s*img\b", re.IGNORECASE)
# Only to be told of: nothing is left out because of it.
_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|rules?|prompts?)\b"
    r"|\b(?:you (?:must|are) now|new instructions?:|system prompt)\b"
    r"|(?:지시|지침|규칙|명령|프롬프트)\s?(?:사항)?(?:을|를|은|는)?.{0,20}(?:무시|잊)",
    re.IGNORECASE,
)


def visible(text: str) -> str:
    """Return the text without the characters that no reader sees, with line feeds alone."""
    return _HIDDEN.sub("", _BREAKS.sub("\n", text))


def inert(text: str) -> str:
    """Return the visible text, unable to close a fence or to start a role or a tool call."""
    return _OPENING.sub(_unfenced, _without_tokens(visible(text)))


def inert_line(text: str, limit: int) -> str:
    """Return the same of a name or a value, on one line of at most `limit` characters."""
    return " ".join(inert(text).split())[:limit]


def hazards(text: str) -> frozenset[Hazard]:
    """Return what the text holds that is not harmless."""
    seen = visible(text)
    unmarked = _without_tokens(seen)
    found: dict[Hazard, bool] = {
        "hidden_characters": bool(_HIDDEN.search(text)),
        "control_tokens": unmarked != seen,
        "fence": _OPENING.sub(_unfenced, unmarked) != unmarked,
        "image": bool(_IMAGE.search(seen)),
        "orders": bool(_ORDERS.search(seen)),
    }
    return frozenset(kind for kind, there in found.items() if there)


def _without_tokens(text: str) -> str:
    return _SQUARE_TOKENS.sub(_unmarked, _ANGLE_TOKENS.sub(_unmarked, text))


def _unmarked(found: re.Match[str]) -> str:
    words = next(group for group in found.groups() if group is not None)
    return f"({words})"


def _unfenced(found: re.Match[str]) -> str:
    letters = ""
    for character in filter(str.isalpha, found.string[found.end() : found.end() + _FENCE_WINDOW]):
        letters += _plain(character)
        if letters.startswith(_FENCES):
            return "("
        if not any(name.startswith(letters) for name in _FENCES):
            break
    return found[0]


def _plain(character: str) -> str:
    """Return the Latin letter that a character is, or looks like."""
    return unicodedata.normalize("NFKD", character)[:1].casefold().translate(_LOOK_ALIKES)
