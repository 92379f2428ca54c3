"""The settings of the response cache."""

from pydantic import Field

from config.section import Section


class CacheSettings(Section):
    """Bounds of the cache in Redis; an alias opts in with `cache_ttl_s`."""

    max_bytes: int = Field(default=256_000_000, ge=1)
    """How much all answers may take together; then the oldest go."""
    max_answer_bytes: int = Field(default=256_000, ge=1)
    """Longer answers are not kept."""
