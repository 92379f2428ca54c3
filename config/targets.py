"""The settings of hosted APIs, and of the ladders that aliases of models are."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    model_validator,
)

from config.named_files import KeysFile
from config.section import Section, matching

AliasName = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}",
        "write an alias of up to 128 letters, digits and `._:-`, the first a letter or a digit",
    ),
]
ProviderName = Annotated[
    str,
    matching(
        r"[a-z0-9][a-z0-9-]{0,63}",
        "write a name of up to 64 lower-case letters, digits and `-`, the first no `-`",
    ),
]
TargetName = Annotated[
    str,
    matching(
        r"extractive|[a-z0-9][a-z0-9-]*/\S+",
        "write `engine/NAME`, `PROVIDER/MODEL` or `extractive`",
    ),
]

Kind = Literal["openai", "azure", "anthropic", "google", "bedrock", "ollama", "compatible"]

BASE_URLS: Mapping[str, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
    "ollama": "http://127.0.0.1:11434/v1",
}
"""Where the OpenAI-compatible endpoints of a kind stand, when that is the same for everybody."""


class ProviderSettings(Section):
    """A hosted API, or any OpenAI-compatible server."""

    kind: Kind = "compatible"
    """Says the default `base_url` and the header that carries the key."""
    base_url: AnyHttpUrl
    """What `/chat/completions` is appended to, such as `https://HOST/v1`."""
    api_key: SecretStr | None = None
    api_keys: tuple[SecretStr, ...] = ()
    """Several keys, used in turn: one that is refused or at its limit rests."""
    api_keys_file: KeysFile | None = None
    """Where to read keys from, one a line."""
    api_version: str | None = None
    """Azure's `api-version`."""
    connect_timeout_s: float = Field(default=5.0, gt=0)
    first_byte_timeout_s: float = Field(default=60.0, gt=0)
    """Longest wait for a streamed answer's first token."""
    idle_timeout_s: float = Field(default=30.0, gt=0)
    """Longest silence between two parts of an answer."""
    total_timeout_s: float = Field(default=600.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _url_of_the_kind(cls, values: object) -> object:
        if not isinstance(values, dict) or "base_url" in values:
            return values
        url = BASE_URLS.get(str(values.get("kind")))
        return values | {"base_url": url} if url else values

    @model_validator(mode="after")
    def _keys_in_one_place(self) -> Self:
        if sum((bool(self.api_key), bool(self.api_keys), bool(self.api_keys_file))) > 1:
            raise ValueError("set one of api_key, api_keys and api_keys_file")
        return self


class RungSettings(Section):
    """A target of a ladder."""

    target: TargetName
    weight: float | None = Field(default=None, gt=0)
    """Its share of the requests that come in, among the targets that have one (a canary)."""


def _rung(value: object) -> object:
    return {"target": value} if isinstance(value, str) else value


def _ladder(value: object) -> object:
    return {"targets": value} if isinstance(value, list | tuple) else value


class LadderSettings(Section):
    """What an alias means: targets, tried in this order."""

    targets: Annotated[
        tuple[Annotated[RungSettings, BeforeValidator(_rung)], ...], Field(min_length=1)
    ]
    residency: Literal["any", "local"] = "any"
    """`local`: no prompt leaves our own engines."""
    ttft_objective_s: float | None = Field(default=None, gt=0)
    """The next target is asked when an engine's first token is to be expected later than this."""
    continuation: bool = False
    """Whether the next target goes on with a plain text answer that broke off."""
    cache_ttl_s: float | None = Field(default=None, ge=1)
    """How long a whole answer is told again to who asks exactly the same; default never."""


Ladder = Annotated[LadderSettings, BeforeValidator(_ladder)]
"""A ladder may be written as the list of its targets."""
