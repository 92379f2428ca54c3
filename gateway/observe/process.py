"""What a process is called where its metrics and its logs are read."""

import os

PROCESS_VARIABLE = "NARU_PROCESS"


def process_name() -> str:
    """Return what the parent calls this process: `web-1`, `jobs`."""
    return os.environ.get(PROCESS_VARIABLE, "web")
