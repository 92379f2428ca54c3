"""Settings of the model that says where in its document a chunk stands."""

from pydantic import AnyHttpUrl, Field, SecretStr

from config.section import Section


class ContextSettings(Section):
    """A chat model that is asked once for each chunk while documents are read."""

    url: AnyHttpUrl
    """Base URL (`…/v1`) of an OpenAI-compatible chat API. The documents' text goes there."""
    model: str = Field(min_length=1)
    api_key: SecretStr | None = None
    timeout_s: float = Field(default=30.0, gt=0)
    """Longest wait for one answer; a chunk without one has no context."""
    at_once: int = Field(default=4, ge=1, le=256)
    """How many chunks are asked for at a time."""
    max_tokens: int = Field(default=100, ge=16, le=1024)
    """Longest context. As many tokens of the embedding model's are kept free for it, at most half
    of what that reads."""
