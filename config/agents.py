"""Settings of agents that stand in files."""

from pathlib import Path

from pydantic import Field

from config.section import Section


class AgentSettings(Section):
    """Agents that the operator writes as files, beside those that are made over HTTP."""

    folder: Path | None = None
    """A folder of YAML files, an agent each; looked at all the time. None unless set."""
    poll_s: float = Field(default=2.0, gt=0)
    """How often the folder is looked at. A changed file counts when it reads the same twice."""
