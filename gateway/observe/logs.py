"""Logging of our processes: a JSON object a line, or lines for people; personal data masked."""

import datetime as dt
import logging
import sys
from typing import Literal

import msgspec

from gateway.govern.charge import current_exchange
from gateway.govern.masking.hide import Hider
from gateway.govern.masking.policy import Policy
from gateway.observe.process import process_name

Style = Literal["auto", "pretty", "json"]

_MASK_ALL = Policy.of({"default": "mask"})


class MaskingFormatter(logging.Formatter):
    """Writes a line, and the traceback that belongs to it, without personal data."""

    def __init__(self, policy: Policy = _MASK_ALL) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._hider = Hider(policy)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; one that can't be masked is withheld."""
        return self._masked(super().format(record), f"{record.levelname} {record.name}: ")

    def _masked(self, text: str, prefix: str = "") -> str:
        try:
            return self._hider.whole(text)
        except Exception as error:  # noqa: BLE001 - whatever it is, the line may hold anything
            return f"{prefix}line withheld ({type(error).__name__})"


class JsonFormatter(MaskingFormatter):
    """Writes one JSON object a line, with the ids of the request that it is about, if it is."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a message that can't be masked is withheld."""
        exchange = current_exchange()
        told = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": process_name(),
            # Callers may choose it.
            "request_id": self._masked(exchange.request_id),
            "trace_id": exchange.trace.id,
            "message": self._masked(record.getMessage()),
            "exception": self._exception(record),
        }
        return msgspec.json.encode({name: text for name, text in told.items() if text}).decode()

    def _exception(self, record: logging.LogRecord) -> str:
        return self._masked(self.formatException(record.exc_info)) if record.exc_info else ""


def configure_logging(policy: Policy = _MASK_ALL, style: Style = "auto") -> None:
    """Set up this process's logging; once at its start, and again when the settings are known."""
    handler = logging.StreamHandler()
    pretty = sys.stderr.isatty() if style == "auto" else style == "pretty"
    handler.setFormatter(MaskingFormatter(policy) if pretty else JsonFormatter(policy))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # It prints a traceback a second while the store is away, which our own lines tell in one.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
    # So does this one; what happened to a job, `rag.job_queue` tells.
    logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)
