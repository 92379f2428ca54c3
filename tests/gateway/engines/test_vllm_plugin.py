"""vLLM's processes, which load what Naru adds to them."""

import subprocess
import sys

from engine_support import ON_GPU

_WAITS = """
from vllm.distributed import utils
from vllm.plugins import load_general_plugins
load_general_plugins()
print("waits with sched_yield:", utils.USE_SCHED_YIELD)
"""


def test_vllms_processes_for_the_cpu_leave_it_to_others_while_they_wait() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _WAITS], capture_output=True, text=True, check=True, timeout=120
    )
    assert f"waits with sched_yield: {ON_GPU}" in told.stdout
