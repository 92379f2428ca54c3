"""A web worker whose clock of the day is wrong: `worker_with_a_wrong_clock.py SECONDS --fd N`."""

import sys
from datetime import UTC, datetime, timedelta

import time_machine

from gateway.web_worker import main

if __name__ == "__main__":
    off = timedelta(seconds=float(sys.argv.pop(1)))
    with time_machine.travel(datetime.now(UTC) + off):
        main()
