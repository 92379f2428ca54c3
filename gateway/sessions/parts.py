"""What a turn tells while it goes on, as it is kept for who comes back."""

import msgspec

from gateway.openai.agents import FoundPassage


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """First part: who answers, and from what; `reason` is why the targets before did not."""

    target: str
    attempts: int
    reason: str | None
    passages: list[FoundPassage]
    agent: str
    agent_version: int


class Said(msgspec.Struct, frozen=True, tag="said"):
    """Text that is final."""

    text: str


Part = Opened | Said

decode_parts = msgspec.json.Decoder(list[Part]).decode


def text_of(parts: list[Part]) -> str:
    """Return what was said."""
    return "".join(part.text for part in parts if isinstance(part, Said))
