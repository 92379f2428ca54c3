"""What every request took: where it is written down, and for how long it is kept."""

from pathlib import Path

from pydantic import Field

from config.section import Section


class LedgerSettings(Section):
    """One usage record per request, journalled on this machine and shipped to PostgreSQL."""

    journal: Path | None = Path("journal")
    """A folder on a disk that outlives the process, within `data_dir` unless the path is absolute;
    null writes every record through to PostgreSQL before its answer ends."""
    fsync: bool = False
    """Whether a record is on the disk, not only with the kernel, before its answer ends."""
    max_open: int = Field(default=4096, ge=16, le=65_536)
    """How many requests a web worker has open at a time, those whose record is not shipped yet
    among them; further ones are answered 503. Each takes 4 KiB of the journal."""
    max_journal_bytes: int = Field(default=1_000_000_000, ge=1_000_000)
    """How much a web worker writes down while PostgreSQL is away."""
    retention_days: int | None = Field(default=None, ge=1)
    """How long a record is kept; then its day's sums are. Default for ever."""
    gpu_hour_usd: float | None = Field(default=None, gt=0)
    """What an hour of your own engines costs, for the comparison with hosted models."""
