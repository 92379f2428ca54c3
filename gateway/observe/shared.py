"""Metrics of all processes: each writes its own into a file, any can add them up.

A file is called by its process's id. What a process that has ended counted is inherited by the next
one that starts, in one rename, so that counters neither get lost nor fall.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gateway.observe.tally import Counter, Gauge, Histogram, Labels, Metric

_FILE = re.compile(r"[0-9]+\.msgpack")
_TRIES = 10


class _Told(msgspec.Struct, array_like=True):
    """What a process has counted: by metric, labels and numbers."""

    counters: dict[str, list[tuple[list[str], float]]] = {}
    gauges: dict[str, list[tuple[list[str], float]]] = {}
    histograms: dict[str, list[tuple[list[str], list[float]]]] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Told).decode


@dataclass(frozen=True, slots=True)
class Shared:
    """The folder of the files; `metrics` are this process's own."""

    folder: Path
    metrics: Sequence[Metric]

    def inherit(self) -> None:
        """Take over what a process that has ended counted, if one left something; once, first."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for path in _files(self.folder):
            # Where our id is used again, it is our predecessor's.
            if int(path.stem) != os.getpid() and _lives(path):
                continue
            with contextlib.suppress(FileNotFoundError):
                path.rename(self._own)
                _add(_read(self._own), self.metrics, living=False)
                return

    def encoded(self) -> bytes:
        """Return what this process has counted, as it is now."""
        told = _Told()
        for metric in self.metrics:
            rows: list[Any] = list(metric.values.items())
            if isinstance(metric, Histogram):
                told.histograms[metric.name] = rows
            elif isinstance(metric, Gauge):
                told.gauges[metric.name] = rows
            else:
                told.counters[metric.name] = rows
        return _encode(told)

    def write(self, told: bytes) -> None:
        """Let the others see it."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        draft = self._own.with_suffix(".draft")
        draft.write_bytes(told)
        draft.replace(self._own)

    def total(self) -> tuple[Metric, ...]:
        """Return what all processes have counted together, as far as they have written it."""
        for _ in range(_TRIES):
            # A file that is inherited meanwhile has another name now.
            with contextlib.suppress(FileNotFoundError):
                return self._sum()
        return self._sum()

    def _sum(self) -> tuple[Metric, ...]:
        summed = tuple(metric.emptied() for metric in self.metrics)
        for path in _files(self.folder):
            _add(_read(path), summed, living=_lives(path))
        return summed

    @property
    def _own(self) -> Path:
        return self.folder / f"{os.getpid()}.msgpack"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if _FILE.fullmatch(path.name))


def _read(path: Path) -> _Told:
    return _decode(path.read_bytes())


def _lives(path: Path) -> bool:
    try:
        os.kill(int(path.stem), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _add(told: _Told, metrics: Sequence[Metric], *, living: bool) -> None:
    """Add what was told; gauges are of the living alone."""
    for metric in metrics:
        if isinstance(metric, Histogram):
            _add_counts(metric, told.histograms.get(metric.name, ()))
        elif isinstance(metric, Counter):
            for labels, value in told.counters.get(metric.name, ()):
                metric.add(*labels, by=value)
        elif living:
            _merge(metric.values, told.gauges.get(metric.name, ()), metric.merge)


def _add_counts(metric: Histogram, rows: Sequence[tuple[list[str], list[float]]]) -> None:
    for labels, counts in rows:
        before = metric.values.get(tuple(labels), [0.0] * len(counts))
        if len(counts) == len(metric.bounds) + 2:
            metric.values[tuple(labels)] = [a + b for a, b in zip(before, counts, strict=True)]


def _merge(values: dict[Labels, float], rows: Sequence[tuple[list[str], float]], how: str) -> None:
    for labels, value in rows:
        before = values.get(tuple(labels))
        if before is None:
            values[tuple(labels)] = value
        else:
            values[tuple(labels)] = before + value if how == "sum" else max(before, value)
