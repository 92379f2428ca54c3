"""Logging of our processes: plain lines on standard error."""

import logging


def configure_logging() -> None:
    """Set up this process's logging; once, at its start."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # It prints a traceback a second while the store is away, which our own lines tell in one.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
    # So does this one; what happened to a job, `rag.job_queue` tells.
    logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)
