"""The settings of the audit log."""

from pydantic import Field

from config.section import Section


class AuditSettings(Section):
    """What is recorded of who did what, and for how long it is kept."""

    calls: bool = False
    """Whether every call of a model or an agent is recorded as well; never its text."""
    retention_days: float | None = Field(default=None, gt=0)
    """How long records are kept; default for ever."""
