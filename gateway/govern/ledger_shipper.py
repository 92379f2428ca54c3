"""What brings records from slots and segments into PostgreSQL: one task per process."""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path

import asyncpg
import msgspec

from config.tasks import end_task
from gateway.govern.journal import Journal, Legacy, find_legacy
from gateway.govern.journal_segments import Segments
from gateway.govern.journal_slots import Slots
from gateway.govern.ledger_record import Ended, left_text
from gateway.govern.ledger_store import LedgerStore

_log = logging.getLogger(__name__)

_AT_ONCE = 500
_LINGER_S = 0.1
_LOOK_S = 5.0
_PURGE_S = 3600.0
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 5.0
_WRITTEN_THROUGH_S = 15.0
_BAD = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    msgspec.DecodeError,
    UnicodeDecodeError,
)
"""What a record of ours can't be the cause of; one that is must not hold up the others."""

_Waiting = tuple[int, Ended, asyncio.Future[None] | None]
"""The slot of a request that has ended, its record, and who waits for it to be shipped."""


class Shipper:
    """Ships; without a journal whoever adds a record waits until it is shipped."""

    def __init__(self, slots: Slots, store: LedgerStore, journal: Journal | None) -> None:
        self.slots = slots
        self._store = store
        self._journal = journal
        self._ended: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._wake.set()  # to look what others left
        self._failures = 0
        self._retry_at = 0.0
        self._look_at = 0.0
        self._purge_at = 0.0
        self._full = False

    @property
    def name(self) -> str:
        """Return the journal's name; empty: there is none."""
        return self._journal.folder.name if self._journal else ""

    @property
    def journalled(self) -> bool:
        """Tell whether a record is kept before PostgreSQL has it."""
        return self._journal is not None

    @property
    def keeps(self) -> bool:
        """Tell whether a record of a request that begins now would be kept."""
        return self._journal is not None or not self._failures

    @property
    def waiting(self) -> int:
        """Return how many records wait in their slots."""
        return len(self._ended)

    @property
    def waiting_bytes(self) -> int:
        """Return how much waits on the disk."""
        return self._journal.segments.size if self._journal else 0

    def keep(self, slot: int, record: Ended) -> None:
        """Take over a slot whose request has ended: the journal keeps its record."""
        self._ended.append((slot, record, None))
        self._wake.set()

    async def write_through(self, slot: int, record: Ended) -> None:
        """Take over such a slot where there is no journal; return when its record is shipped."""
        shipped = asyncio.get_running_loop().create_future()
        self._ended.append((slot, record, shipped))
        self._wake.set()
        await asyncio.wait([shipped], timeout=_WRITTEN_THROUGH_S)
        if not shipped.done():
            _log.error("a usage record is in memory alone: PostgreSQL does not take it")

    async def run(self) -> None:
        """Ship until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            self._wake.clear()
            if self._journal:
                # So that there is more than one to a batch.
                await asyncio.sleep(_LINGER_S)
            if _now() >= self._retry_at:
                await self._try()
            if self._failures:
                await self._spill()

    async def close(self, running: "asyncio.Task[None]") -> None:
        """End `running`; ship what there is, or leave it in the journal."""
        await end_task(running)
        try:
            await self._ship_ended()
        except Exception as error:  # noqa: BLE001 - whatever it is, the journal has them
            _log.warning("usage records are left in the journal: %s", type(error).__name__)
        await self._store.close()
        if self._journal:
            await asyncio.to_thread(self._journal.close)

    def _pause(self) -> float:
        wait_s = max(self._retry_at - _now(), 0.0) if self._failures else _LOOK_S
        return min(wait_s, _LOOK_S)

    async def _try(self) -> None:
        """Ship what there is; note how that went."""
        try:
            await self._ship_ended()
            await self._ship_backlog()
            await self._purge()
        except Exception as error:  # noqa: BLE001 - the ledger must not end for any
            delay_s = min(_FIRST_DELAY_S * 2**self._failures, _LONGEST_DELAY_S)
            self._retry_at = _now() + delay_s
            self._failures += 1
            _log.warning("usage records wait for PostgreSQL: %s", type(error).__name__)
        else:
            self._failures = 0

    async def _ship_ended(self) -> None:
        """Ship what has ended by now; what ends meanwhile gathers for the next time."""
        for _ in range(0, len(self._ended), _AT_ONCE):
            batch = self._take(_AT_ONCE)
            try:
                await self._add([record for _, record, _ in batch])
            except BaseException:
                self._ended.extendleft(reversed(batch))
                raise
            self._done(batch)

    def _take(self, most: int) -> list[_Waiting]:
        return [self._ended.popleft() for _ in range(min(most, len(self._ended)))]

    def _done(self, batch: Sequence[_Waiting]) -> None:
        for slot, _, shipped in batch:
            self.slots.release(slot)
            if shipped and not shipped.done():
                shipped.set_result(None)

    async def _ship_backlog(self) -> None:
        """Ship a segment of our own, and what others left."""
        if not self._journal:
            return
        if await self._ship_segment(self._journal.segments):
            self._wake.set()
        elif _now() >= self._look_at:
            legacy = await asyncio.to_thread(find_legacy, self._journal.folder.parent)
            if legacy:
                await self._ship_legacy(legacy)
                self._wake.set()
            else:
                self._look_at = _now() + _LOOK_S

    async def _ship_segment(self, segments: Segments) -> bool:
        """Ship the segment that waits longest; tell whether there was one."""
        if not segments:
            return False
        oldest = await asyncio.to_thread(segments.oldest)
        if oldest is None:
            return False
        path, texts = oldest
        await self._add_all(texts)
        await asyncio.to_thread(segments.remove, path)
        return True

    async def _ship_legacy(self, legacy: Legacy) -> None:
        try:
            await self._add_all([left_text(left) for left in legacy.left])
            while await self._ship_segment(legacy.segments):
                await self._ship_ended()
            await self._store.close_leases(legacy.folder.name)
        except BaseException:
            legacy.release()
            raise
        await asyncio.to_thread(legacy.remove)
        if legacy.left:
            _log.warning("%d usage records of a process that is gone", len(legacy.left))

    async def _add_all(self, texts: Sequence[bytes]) -> None:
        for start in range(0, len(texts), _AT_ONCE):
            records = [await self._read(text) for text in texts[start : start + _AT_ONCE]]
            await self._add([record for record in records if record])

    async def _read(self, text: bytes) -> Ended | None:
        try:
            return Ended.read(text)
        except _BAD as error:
            await self._set_aside(text, error)
            return None

    async def _add(self, records: Sequence[Ended]) -> None:
        """Add records; one that PostgreSQL refuses for itself is set aside."""
        if not records:
            return
        try:
            await self._beside_spilling(self._store.add(records))
        except _BAD as error:
            if len(records) > 1:
                half = len(records) // 2
                await self._add(records[:half])
                await self._add(records[half:])
            else:
                await self._set_aside(records[0].text, error)

    async def _beside_spilling(self, work: Coroutine[None, None, None]) -> None:
        """Wait for PostgreSQL; where that takes long, make room for requests that begin."""
        working = asyncio.create_task(work)
        try:
            while not working.done():
                await asyncio.wait([working], timeout=_LINGER_S)
                if not working.done() and self.slots.crowded:
                    await self._spill()
            working.result()
        finally:
            await end_task(working)

    async def _spill(self) -> None:
        """Move records that have ended from their slots to the disk."""
        if not self._journal or not self._ended:
            return
        batch = self._take(len(self._ended))
        texts = [record.text for _, record, _ in batch]
        try:
            await asyncio.to_thread(self._journal.segments.append, texts)
        except OSError as error:
            self._ended.extendleft(reversed(batch))
            if not self._full:
                _log.error("the journal takes no more: %s", error.strerror)
            self._full = True
        else:
            self._full = False
            self._done(batch)

    async def _purge(self) -> None:
        if _now() >= self._purge_at:
            self._purge_at = _now() + _PURGE_S
            await self._beside_spilling(self._store.purge())

    async def _set_aside(self, text: bytes, error: Exception) -> None:
        _log.error("a usage record is refused: %s", type(error).__name__)
        if self._journal:
            await asyncio.to_thread(_append, self._journal.folder.parent / "refused.ndjson", text)


def _append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text + b"\n")


def _now() -> float:
    return asyncio.get_running_loop().time()
