"""The ledger: one usage record per request, whatever its ending and whatever breaks.

An open request has a slot in memory that outlives the process (`journal_slots`). When it ends, its
record stands there before its answer ends; `ledger_shipper` brings it into PostgreSQL.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec

from config.ledger import LedgerSettings
from gateway.errors import Unavailable
from gateway.govern.charge import Charge
from gateway.govern.journal import Journal, open_journal
from gateway.govern.journal_slots import Slots
from gateway.govern.ledger_record import begun_text, ended_record, opened_text
from gateway.govern.ledger_shipper import Shipper
from gateway.govern.ledger_store import LedgerStore
from gateway.openai.usage import TokenUsage

_log = logging.getLogger(__name__)


class _Entry(msgspec.Struct, eq=False):
    """An open request's slot, and how each of its texts begins."""

    charge: Charge
    slots: Slots
    slot: int
    begun: bytes
    written: bool = False

    def note_attempt(self) -> None:
        self.written = True
        self.slots.write(self.slot, opened_text(self.charge, self.begun))

    def count(self, usage: TokenUsage) -> None:
        self.slots.count(self.slot, usage)


class Ledger:
    """The ledger of one process.

    With `fsync` a record is on the disk before its answer ends; without, it is with the kernel,
    which a killed process can't take back, but a power failure can.

    Attributes:
        waits: Whether to close a record takes time.
    """

    def __init__(self, shipper: Shipper, *, fsync: bool) -> None:
        self._shipper = shipper
        self._slots = shipper.slots
        self._fsync = fsync
        self._journalled = shipper.journalled
        self.waits = fsync or not self._journalled
        self._open: dict[str, _Entry] = {}
        self._begun: list[_Entry] = []

    @property
    def name(self) -> str:
        """Return the name under which others find what the process left; empty: there is none."""
        return self._shipper.name

    @property
    def waiting(self) -> int:
        """Return how many records have ended and are not in PostgreSQL yet, those on disk aside."""
        return self._shipper.waiting

    @property
    def waiting_bytes(self) -> int:
        """Return how much waits for PostgreSQL on the disk."""
        return self._shipper.waiting_bytes

    def open(self, charge: Charge) -> None:
        """Take a slot for the request's record, which stands there when a target is asked.

        Or, where something is waited for before that, when the event loop has its next turn.

        Raises:
            Unavailable: There is none, or its record could not be kept.
        """
        slot = self._slots.take() if self._shipper.keeps else None
        if slot is None:
            message = "what requests take can't be written down at the moment: try again"
            headers = {"retry-after": "1"}
            raise Unavailable(message, code="ledger_unavailable", headers=headers)
        entry = _Entry(charge, self._slots, slot, begun_text(charge))
        charge.entry = self._open[charge.id] = entry
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._write_begun)
        self._begun.append(entry)

    def _write_begun(self) -> None:
        begun, self._begun = self._begun, []
        for entry in begun:
            # Most have asked a target by now, or ended.
            if not entry.written and entry.charge.entry is entry:
                entry.note_attempt()

    async def close(self, charge: Charge) -> None:
        """Write the ended request's record; when this returns, it survives this process."""
        entry = self._open.pop(charge.id, None)
        if entry is None:
            return
        charge.entry = None
        record = ended_record(charge, entry.begun)
        self._slots.write(entry.slot, record.text, ended=True)
        if self._fsync:
            await asyncio.to_thread(self._slots.flush, entry.slot)
        if self._journalled:
            self._shipper.keep(entry.slot, record)
        else:
            await self._shipper.write_through(entry.slot, record)


@asynccontextmanager
async def open_ledger(
    settings: LedgerSettings, data_dir: Path, url: str, *, audit_key: bytes | None = None
) -> AsyncIterator[Ledger]:
    """Open this process's ledger; what is not shipped at the end is left in the journal.

    With the audit log's key every call is recorded there as well.
    """
    root = None if settings.journal is None else data_dir / settings.journal
    journal = await asyncio.to_thread(_journal, root, settings)
    slots = journal.slots if journal else Slots.in_memory(settings.max_open)
    days = settings.retention_days
    store = LedgerStore(url, None if days is None else timedelta(days=days), audit_key)
    shipper = Shipper(slots, store, journal)
    shipping = asyncio.create_task(shipper.run())
    try:
        yield Ledger(shipper, fsync=settings.fsync and journal is not None)
    finally:
        await shipper.close(shipping)


def _journal(root: Path | None, settings: LedgerSettings) -> Journal | None:
    if root is None:
        return None
    try:
        return open_journal(root, slots=settings.max_open, max_bytes=settings.max_journal_bytes)
    except OSError as error:
        _log.warning("no journal in %s, records are written through: %s", root, error.strerror)
        return None
