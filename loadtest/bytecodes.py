"""How many bytecodes a request takes, and which function executes them: `make bench-bytecodes`.

Time on a busy machine tells a change of a twentieth only after many runs. Bytecodes are counted:
two runs differ by what goes by the clock alone. They are no time: what C does for them, the kernel
and the caches are most of that.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from measures import saturate
from phases import asked
from rig import follow, prepare, run_mock, run_naru

ROOT = Path(__file__).resolve().parent.parent
_TRACED = Path(__file__).with_name("traced")
_BEGINS = "BoundedProtocol.on_headers_complete"
_CONNECTIONS = 8
_PATIENCE_S = 30.0

Row = tuple[str, int, str, int, int]
"""File, line and name of a function, how often it was called or resumed, and its bytecodes."""


def table(rows: Iterable[Row], most: int) -> list[str]:
    """Return the lines that tell of the functions which execute most, for each request."""
    counted = sorted(rows, key=lambda row: -row[4])
    requests = sum(calls for _, _, name, calls, _ in counted if name == _BEGINS)
    total, calls = sum(row[4] for row in counted), sum(row[3] for row in counted)
    lines = [f"{total / requests:9,.0f} bytecodes and {calls / requests:,.0f} calls each request"]
    for file, line, name, called, executed in counted[:most]:
        place = f"{_short(file)}:{line} {name}"
        lines.append(f"{executed / requests:9.1f} {called / requests:6.2f} {place}")
    return lines


def _short(file: str) -> str:
    for folder in ("/site-packages/", f"{ROOT}/"):
        _, found, rest = file.partition(folder)
        if found:
            return rest
    return file


def main() -> None:
    """Count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", choices=["chat", "stream", "agent"], default="chat")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--most", type=int, default=40, help="functions that are listed")
    arguments = parser.parse_args()
    prepare()
    with tempfile.TemporaryDirectory(prefix="naru-bytecodes-") as made, run_mock() as mock:
        folder = Path(made)
        os.environ["BYTECODES_FOLDER"] = made
        os.environ["PYTHONPATH"] = f"{_TRACED}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        (folder / "naru").mkdir()
        with run_naru(folder / "naru", mock.url) as naru:
            request = asked(naru, arguments.way)
            if arguments.way == "stream":
                follow(mock, chunks=1, interval_ms=0)
            saturate(naru.gateway, request, _CONNECTIONS, 1)
            (folder / "count").touch()
            time.sleep(0.5)
            saturate(naru.gateway, request, _CONNECTIONS, arguments.seconds)
            (folder / "count").unlink()
            _wait_for(folder / "counted")
        rows = json.loads((folder / "counted").read_text(encoding="utf-8"))
    print("\n".join(table(map(tuple, rows), arguments.most)))


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{file} did not come")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
