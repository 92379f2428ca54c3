"""Logging of our processes: plain lines on standard error, personal data masked."""

import logging

from gateway.govern.masking.hide import Hider
from gateway.govern.masking.policy import Policy

_MASK_ALL = Policy.of({"default": "mask"})


class MaskingFormatter(logging.Formatter):
    """Writes a line, and the traceback that belongs to it, without personal data."""

    def __init__(self, policy: Policy = _MASK_ALL) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._hider = Hider(policy)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; one that can't be masked is withheld."""
        line = super().format(record)
        try:
            return self._hider.whole(line)
        except Exception as error:  # noqa: BLE001 - whatever it is, the line may hold anything
            return f"{record.levelname} {record.name}: line withheld ({type(error).__name__})"


def configure_logging(policy: Policy = _MASK_ALL) -> None:
    """Set up this process's logging; once at its start, and again where settings allow more."""
    handler = logging.StreamHandler()
    handler.setFormatter(MaskingFormatter(policy))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # It prints a traceback a second while the store is away, which our own lines tell in one.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
    # So does this one; what happened to a job, `rag.job_queue` tells.
    logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)
