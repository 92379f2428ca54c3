"""Metrics of several processes, real ones: what they tell together while they come and go."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.observe.exposition import render
from gateway.observe.shared import Shared
from gateway.observe.tally import Counter, Gauge, Histogram, Metric

_CHILD = """
import sys
from pathlib import Path
from gateway.observe.shared import Shared
from gateway.observe.tally import Counter, Gauge, Histogram
metrics = (
    Counter("naru_things", "Things.", ("kind",)),
    Gauge("naru_level", "How high."),
    Histogram("naru_size", "How large.", (1.0, 10.0)),
)
shared = Shared(Path(sys.argv[1]), metrics)
shared.inherit()
metrics[0].add("a", by=float(sys.argv[2]))
metrics[1].set(float(sys.argv[2]))
metrics[2].observe(float(sys.argv[2]))
shared.write(shared.encoded())
print("told", flush=True)
sys.stdin.read()
"""


def _some() -> tuple[Counter, Gauge, Histogram]:
    return (
        Counter("naru_things", "Things.", ("kind",)),
        Gauge("naru_level", "How high."),
        Histogram("naru_size", "How large.", (1.0, 10.0)),
    )


class _Process:
    def __init__(self, folder: Path, number: float) -> None:
        argv = [sys.executable, "-c", _CHILD, str(folder), str(number)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "told\n"

    def end(self, number: int = signal.SIGKILL) -> None:
        self._process.send_signal(number)
        self._process.communicate()


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    folder = tmp_path / "metrics"
    folder.mkdir()
    return Shared(folder, _some())


def _values(metrics: tuple[Metric, ...]) -> tuple[float, float | None, list[float]]:
    things, level, size = metrics
    return things.values[("a",)], level.values.get(()), size.values[()]  # type: ignore[return-value]


def test_what_processes_have_counted_is_added_up(shared: Shared):
    processes = [_Process(shared.folder, 2), _Process(shared.folder, 40)]

    assert _values(shared.total()) == (42, 42, [0, 1, 1, 42])

    for process in processes:
        process.end()


def test_a_dead_process_is_still_counted_but_is_at_no_level(shared: Shared):
    _Process(shared.folder, 2).end()

    assert _values(shared.total()) == (2, None, [0, 1, 0, 2])


def test_who_starts_goes_on_counting_where_the_dead_one_stopped(shared: Shared):
    _Process(shared.folder, 2).end()
    after = _Process(shared.folder, 3)

    assert _values(shared.total()) == (5, 3, [0, 2, 0, 5])
    assert len(list(shared.folder.glob("*.msgpack"))) == 1
    after.end()


def test_a_living_process_is_not_inherited(shared: Shared):
    living, other = _Process(shared.folder, 2), _Process(shared.folder, 3)

    assert len(list(shared.folder.glob("*.msgpack"))) == 2
    living.end()
    other.end()


def test_the_text_is_what_prometheus_reads(shared: Shared):
    things, level, size = _some()
    things.add('a "quoted"\nname', by=2)
    level.set(1.5)
    for value in (0.5, 10, 11):
        size.observe(value)
    text, media_type = render((things, level, size), "")

    families = {each.name: each for each in text_string_to_metric_families(text.decode())}
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert media_type.startswith("text/plain; version=0.0.4")
    assert samples == {
        ("naru_things_total", 'a "quoted"\nname'): 2,
        ("naru_level",): 1.5,
        ("naru_size_bucket", "1.0"): 1,
        ("naru_size_bucket", "10.0"): 2,
        ("naru_size_bucket", "+Inf"): 3,
        ("naru_size_count",): 3,
        ("naru_size_sum",): 21.5,
    }


def test_open_metrics_is_told_to_who_asks_for_it(shared: Shared):
    text, media_type = render(_some(), "application/openmetrics-text; version=1.0.0")

    assert media_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_levels_of_which_the_highest_counts(tmp_path: Path):
    gauge = Gauge("naru_level", "How high.", merge="max")
    shared = Shared(tmp_path, (gauge,))
    gauge.set(7)
    shared.write(shared.encoded())
    (tmp_path / f"{os.getppid()}.msgpack").write_bytes(shared.encoded())

    assert shared.total()[0].values == {(): 7}
