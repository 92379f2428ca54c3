"""Settings of agents: those that stand in files, and what a turn may take."""

from pathlib import Path

from pydantic import Field

from config.section import Section


class AgentSettings(Section):
    """Agents that the operator writes as files, beside those made over HTTP; what a turn takes."""

    folder: Path | None = None
    """A folder of YAML files, an agent each; looked at all the time. None unless set."""
    poll_s: float = Field(default=2.0, gt=0)
    """How often the folder is looked at. A changed file counts when it reads the same twice."""
    rewrite_timeout_s: float = Field(default=5.0, ge=0)
    """How long the agent's model may take to make a follow-up a question of its own; then, or with
    0, it is done by rule."""
    summary_timeout_s: float = Field(default=20.0, ge=0)
    """How long it may take to summarize what no longer fits into the history; 0 summarizes
    nothing."""
    passage_tokens: int = Field(default=12_000, ge=200)
    """How many tokens of passages a model is given, estimated from their bytes; the best come first
    and one always does."""
