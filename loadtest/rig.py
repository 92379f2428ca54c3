"""What is measured, each on a core of its own: Naru with everything on, and the mock upstream.

The first core of those we may use is the gateway's; the others are for whatever is around it: the
mock, the stores, the load.
"""

import base64
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from naru_process import NaruProcess
from support import free_port

ALL_CORES = sorted(os.sched_getaffinity(0))
GATEWAY_CORE = ALL_CORES[:1]
OTHER_CORES = ALL_CORES[1:] or ALL_CORES
WITH_US = ("setpriv", "--pdeathsig", "TERM")
"""Before a command: it is told to end when we do, even when we are killed."""
MODEL = "mock"
_START_S = 180.0
_PLENTY = 1_000_000_000
_LIMITS = {
    "requests_per_minute": _PLENTY,
    "tokens_per_minute": _PLENTY,
    "concurrent_requests": _PLENTY,
}


@dataclass(frozen=True, slots=True)
class Gateway:
    """Something that stands before the mock, or the mock itself.

    Attributes:
        url: Of the server, without a path.
        processes: Those that do a request's work: their CPU time is the gateway's.
        streams: Whether it can be asked for a stream.
        health: Path of what answers while everything else waits.
    """

    name: str
    url: str
    processes: Sequence[psutil.Process]
    headers: dict[str, str] = field(default_factory=dict)
    path: str = "/v1/chat/completions"
    model: str = MODEL
    streams: bool = True
    health: str | None = None

    def cpu_s(self) -> float:
        """Return how long it has computed so far."""
        times = [process.cpu_times() for process in self.processes]
        return sum(each.user + each.system for each in times)

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        return sum(process.memory_info().rss for process in self.processes)


def prepare() -> None:
    """Make this process, and what it starts, one that measures.

    Off the gateway's core, with as many open files as may be; told to end it ends what it started.
    """
    os.sched_setaffinity(0, OTHER_CORES)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def pin(processes: Sequence[psutil.Process], cores: Sequence[int] = tuple(GATEWAY_CORE)) -> None:
    """Keep these processes, threads included, on these cores."""
    for process in processes:
        for thread in process.threads():
            os.sched_setaffinity(thread.id, cores)


def post(url: str, body: object, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what the JSON that is answered says."""
    content = {"content-type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, json.dumps(body).encode(), content)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        error.add_note(error.read().decode())
        raise


def ensure(url: str, body: object, headers: dict[str, str]) -> None:
    """Make something, unless an earlier run on the same data has."""
    try:
        post(url, body, headers)
    except urllib.error.HTTPError as error:
        if '_exists"' not in "".join(error.__notes__):
            raise


def wait_until_answering(gateway: Gateway, limit_s: float = 30.0) -> None:
    """Return when it answers a chat completion.

    Raises:
        TimeoutError: It did not in time.
    """
    body = {"model": gateway.model, "messages": [{"role": "user", "content": "Hello"}]}
    deadline = time.monotonic() + limit_s
    while True:
        try:
            post(gateway.url + gateway.path, body, gateway.headers)
        except (OSError, urllib.error.URLError) as error:
            if time.monotonic() > deadline:
                said = "".join(getattr(error, "__notes__", ()))
                raise TimeoutError(f"{gateway.name}: {error} {said}") from error
            time.sleep(0.2)
        else:
            return


@contextlib.contextmanager
def ending(process: psutil.Popen) -> Iterator[psutil.Popen]:
    """End the process, and its children, at the end."""
    try:
        yield process
    finally:
        family = [process, *process.children(recursive=True)] if process.poll() is None else []
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.terminate()
        _, left = psutil.wait_procs(family, timeout=10)
        for each in left:
            each.kill()


@contextlib.contextmanager
def run_mock() -> Iterator[Gateway]:
    """Run the mock upstream."""
    port = free_port()
    script = Path(__file__).with_name("upstream.py")
    argv = [*WITH_US, sys.executable, str(script), "--port", str(port)]
    with ending(psutil.Popen(argv, stdin=subprocess.DEVNULL)) as process:
        pin([process], OTHER_CORES)
        mock = Gateway("direct", f"http://127.0.0.1:{port}", [process])
        wait_until_answering(mock)
        yield mock


def follow(mock: Gateway, **script: float) -> None:
    """Let the mock answer so from now on (`upstream.Script`)."""
    post(f"{mock.url}/control", script)


@dataclass(frozen=True, slots=True)
class Naru:
    """A running service: one web worker, on the gateway's core.

    Attributes:
        gateway: Asked for the alias `mock`, a hosted provider's model.
        engine: Asked for `engine-mock`: the way by which our own engines are asked.
        env: What `demo.env` says.
    """

    gateway: Gateway
    engine: Gateway
    env: dict[str, str]
    process: NaruProcess


@contextlib.contextmanager
def run_naru(folder: Path, upstream: str, more: dict[str, Any] | None = None) -> Iterator[Naru]:
    """Run Naru before the mock: verification, limits, budgets, the ledger, 1 % of traces."""
    file = folder / "naru.yaml"
    file.write_text(json.dumps(_settings(upstream) | (more or {})))
    wrapper = [*WITH_US, "taskset", "-c", ",".join(map(str, OTHER_CORES))]
    arguments = ("--demo", "--config", str(file))
    with NaruProcess(folder / "data", *arguments, wrapper=wrapper) as process:
        process.wait_until_ready(_START_S)
        lines = (folder / "data" / "demo.env").read_text().splitlines()
        env = {name: value for name, _, value in (line.partition("=") for line in lines)}
        workers = process.children("gateway.web_worker")
        pin(workers)
        headers = {"authorization": f"Bearer {env['NARU_API_KEY']}"}
        gateway = Gateway("Naru", process.url, workers, headers, health="/health/live")
        engine = Gateway("Naru (engine)", process.url, workers, headers, model="engine-mock")
        set_budget(process, "demo")
        for way in (gateway, engine):
            wait_until_answering(way)
        yield Naru(gateway, engine, env, process)


def _settings(upstream: str) -> dict[str, Any]:
    price = {"input": 0.15, "output": 0.6, "longest": 4000}
    patient = {"first_byte_timeout_s": 600, "idle_timeout_s": 600}
    return {
        "providers": {"upstream": {"base_url": f"{upstream}/v1", "api_key": "none", **patient}},
        "engines": {"engine-mock": {"urls": [f"{upstream}/v1"], "max_requests": 20_000, **patient}},
        "models": {MODEL: [f"upstream/{MODEL}"]},
        "prices": {"upstream/*": price, "engine/engine-mock": price},
        "limits": {"tenant": _LIMITS, "client": _LIMITS, "key": _LIMITS},
        "ledger": {"max_open": 20_000},
        "telemetry": {"exporter": "otlp", "otlp_url": upstream, "sample_ratio": 0.01},
    }


def set_budget(process: NaruProcess, tenant: str) -> None:
    """Give a tenant a budget that it does not exhaust."""
    operator = log_in(process, "--role", "operator", "--scope", "admin")
    budget = {"amount_usd": "1000000", "period": "month", "tenant": tenant}
    ensure(f"{process.url}/admin/budgets", budget, operator)


def log_in(process: NaruProcess, *options: str) -> dict[str, str]:
    """Make a client with these options; return the header with its token."""
    made = process.run("client", "create", "--name", "bench", *options)
    assert made.returncode == 0, made.stderr
    client, secret = (line.partition("=")[2] for line in made.stdout.split())
    credentials = base64.b64encode(f"{client}:{secret}".encode()).decode()
    scopes = [given for name, given in pairwise(options) if name == "--scope"]
    form = urllib.parse.urlencode(
        {"grant_type": "client_credentials"} | ({"scope": " ".join(scopes)} if scopes else {})
    )
    headers = {"authorization": f"Basic {credentials}"}
    request = urllib.request.Request(f"{process.url}/oauth/token", form.encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return {"authorization": f"Bearer {json.load(answer)['access_token']}"}
