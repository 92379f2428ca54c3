"""What a benchmark started ends with it, however that ends."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from naru_process import wait_until_gone

LOADTEST = Path(__file__).parents[2] / "loadtest"
BENCHMARK = """
import subprocess, sys, time
import psutil
from rig import WITH_US, ending, prepare
prepare()
sleeping = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
with ending(psutil.Popen([*WITH_US, *sleeping], stdout=subprocess.PIPE)) as child:
    child.stdout.readline()
    print(child.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_what_was_started_ends_with_who_started_it(number: signal.Signals):
    path = f"{LOADTEST}:{LOADTEST.parent}/tests:{LOADTEST.parent}"
    with subprocess.Popen(
        [sys.executable, "-c", BENCHMARK],
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as benchmark:
        assert benchmark.stdout is not None
        child = psutil.Process(int(benchmark.stdout.readline()))
        benchmark.send_signal(number)
        benchmark.wait(30)
        wait_until_gone([child], 30)
