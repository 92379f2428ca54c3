"""What a process is called where its metrics and its logs are read."""

import os
from collections.abc import Mapping

_VARIABLE = "NARU_PROCESS"


def process_name() -> str:
    """Return what the parent calls this process: `web-1`, `jobs`."""
    return os.environ.get(_VARIABLE, "web")


def named(environ: Mapping[str, str], name: str) -> dict[str, str]:
    """Return an environment in which one of our own processes is called `name`."""
    return {**environ, _VARIABLE: name}
