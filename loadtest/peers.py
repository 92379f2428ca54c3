"""Other gateways, each in an environment of its own, set up to do what Naru does in `rig.py`.

They are peers of a measurement and nothing else: Naru neither imports nor ships any of them. What
can't be installed here is left out, and the report says why. None of them is asked to verify, limit
or account; LiteLLM alone checks a key, since it no longer starts without one.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rig import GATEWAY_CORE, WITH_US, Gateway, ending, wait_until_answering
from support import free_port

FOLDER = Path(__file__).resolve().parent.parent / ".naru" / "bench-peers"
_INSTALL_S = 900
_START_S = 120.0
_KEY = "sk-bench-0123456789abcdef0123456789abcdef"


class Unavailable(Exception):
    """This peer can't be measured here."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer runs.

    Attributes:
        installed: What `install` made.
        folder: For its settings and logs.
        upstream: The mock's URL.
    """

    installed: Path
    folder: Path
    upstream: str
    port: int


@dataclass(frozen=True, slots=True)
class Peer:
    """How a gateway is installed and started.

    Attributes:
        install: Puts it into the folder it is given.
        start: Writes its settings; returns what to run and how it is asked.
    """

    name: str
    version: str
    install: Callable[[Path], None]
    start: Callable[[Place], tuple[list[str], dict[str, Any]]]


def _run(*argv: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, check=False, timeout=_INSTALL_S
    )
    if done.returncode:
        raise Unavailable((done.stderr.strip() or done.stdout.strip()).splitlines()[-1][:200])


def _from_pypi(*requirements: str) -> Callable[[Path], None]:
    def install(folder: Path) -> None:
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(folder / "bin" / "pip"), "install", "--quiet", *requirements)

    return install


def _from_npm(requirement: str) -> Callable[[Path], None]:
    def install(folder: Path) -> None:
        if not shutil.which("npm"):
            raise Unavailable("there is no npm here")
        folder.mkdir()
        _run("npm", "install", "--prefix", str(folder), requirement)

    return install


def _from_debian(package: str) -> Callable[[Path], None]:
    def install(folder: Path) -> None:
        if not shutil.which("apt-get"):
            raise Unavailable("there is no apt-get here")
        folder.mkdir()
        _run("apt-get", "download", package, cwd=folder)
        for file in folder.glob("*.deb"):
            _run("dpkg-deb", "-x", str(file), str(folder))

    return install


def _litellm(place: Place) -> tuple[list[str], dict[str, Any]]:
    parameters = {"model": "openai/mock", "api_base": f"{place.upstream}/v1", "api_key": "none"}
    settings = {
        "model_list": [{"model_name": "mock", "litellm_params": parameters}],
        "litellm_settings": {"telemetry": False},
        "general_settings": {"master_key": _KEY},
    }
    file = place.folder / "litellm.yaml"
    file.write_text(json.dumps(settings))
    argv = [str(place.installed / "bin" / "litellm"), "--config", str(file), "--num_workers", "1"]
    address = ["--host", "127.0.0.1", "--port", str(place.port), "--telemetry", "False"]
    return [*argv, *address], {"headers": {"authorization": f"Bearer {_KEY}"}}


def _portkey(place: Place) -> tuple[list[str], dict[str, Any]]:
    script = place.installed / "node_modules/@portkey-ai/gateway/build/start-server.js"
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"{place.upstream}/v1",
        "authorization": "Bearer none",
    }
    argv = ["node", str(script), "--headless", f"--port={place.port}"]
    # As npm installs it, streams are answered 500: headers it may not change.
    return argv, {"headers": headers, "streams": False}


_TENSORZERO = """
import asyncio, sys, tensorzero
stores = {"clickhouse_url": None, "postgres_url": None, "valkey_url": None}
gateway = tensorzero._start_http_gateway(config_file=sys.argv[1], async_setup=False, **stores)
print(gateway.base_url, flush=True)
asyncio.new_event_loop().run_forever()
"""


def _tensorzero(place: Place) -> tuple[list[str], dict[str, Any]]:
    file = place.folder / "tensorzero.toml"
    file.write_text(
        "[gateway]\nobservability.enabled = false\n"
        '[models.mock]\nrouting = ["mock"]\n'
        '[models.mock.providers.mock]\ntype = "openai"\nmodel_name = "mock"\n'
        f'api_base = "{place.upstream}/v1/"\napi_key_location = "none"\n'
    )
    argv = [str(place.installed / "bin" / "python"), "-c", _TENSORZERO, str(file)]
    way = {"path": "/openai/v1/chat/completions", "model": "tensorzero::model_name::mock"}
    return argv, way


def _vllm_router(place: Place) -> tuple[list[str], dict[str, Any]]:
    argv = [str(place.installed / "bin" / "vllm-router"), "--worker-urls", place.upstream]
    argv += ["--host", "127.0.0.1", "--port", str(place.port), "--policy", "round_robin"]
    # Its metrics have a port of their own, 29000 unless said.
    argv += ["--prometheus-port", str(free_port()), "--max-concurrent-requests", "20000"]
    return [*argv, "--log-level", "error"], {}


_NGINX = """
worker_processes 1; daemon off; pid %(folder)s/nginx.pid; error_log %(folder)s/nginx.err;
events { worker_connections 20000; }
http {
  access_log off; client_max_body_size 10m; client_body_buffer_size 1m;
  client_body_temp_path %(folder)s/t1; proxy_temp_path %(folder)s/t2;
  fastcgi_temp_path %(folder)s/t3; uwsgi_temp_path %(folder)s/t4; scgi_temp_path %(folder)s/t5;
  keepalive_requests 1000000000; keepalive_timeout 600;
  upstream mock { server %(upstream)s; keepalive 1024; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:%(port)d backlog=16384;
    location / {
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600;
    }
  }
}
"""


def _nginx(place: Place) -> tuple[list[str], dict[str, Any]]:
    upstream = place.upstream.removeprefix("http://")
    values = {"folder": place.folder, "upstream": upstream, "port": place.port}
    file = place.folder / "nginx.conf"
    file.write_text(_NGINX % values)
    program = str(place.installed / "usr/sbin/nginx")
    return [program, "-c", str(file), "-p", str(place.folder)], {}


PEERS = (
    Peer("LiteLLM", "1.108.7", _from_pypi("litellm[proxy]==1.108.7"), _litellm),
    Peer("Portkey", "1.15.2", _from_npm("@portkey-ai/gateway@1.15.2"), _portkey),
    Peer("TensorZero", "2026.6.0", _from_pypi("tensorzero==2026.6.0"), _tensorzero),
    Peer("vllm-router", "0.1.17", _from_pypi("vllm-router==0.1.17"), _vllm_router),
    Peer("nginx", "debian", _from_debian("nginx"), _nginx),
)


def install(peer: Peer) -> Path:
    """Return where this version of the peer is installed, once it is.

    Raises:
        Unavailable: It can't be.
    """
    return _installed(f"{peer.name}-{peer.version}", peer.install)


def installed_from_pypi(requirement: str) -> Path:
    """Return an environment of its own with this tool.

    Raises:
        Unavailable: It can't be installed.
    """
    return _installed(requirement.replace("==", "-"), _from_pypi(requirement))


def _installed(name: str, put: Callable[[Path], None]) -> Path:
    done = FOLDER / name
    # A virtual environment can't be moved: what is half done is known by its mark.
    mark = done.with_name(done.name + ".unfinished")
    if done.exists() and not mark.exists():
        return done
    shutil.rmtree(done, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        put(done)
    except BaseException:
        shutil.rmtree(done, ignore_errors=True)
        raise
    mark.unlink()
    return done


@contextlib.contextmanager
def run_peer(peer: Peer, folder: Path, upstream: str) -> Iterator[Gateway]:
    """Run the peer on the gateway's core, before the mock.

    Raises:
        Unavailable: It can't be installed, or does not answer.
    """
    installed = install(peer)
    folder.mkdir()
    place = Place(installed, folder, upstream, free_port())
    argv, way = peer.start(place)
    log = folder / "output.log"
    # Before it starts: thread pools are as large as the cores it may use.
    pinned = [*WITH_US, "taskset", "-c", ",".join(map(str, GATEWAY_CORE)), *argv]
    with log.open("wb") as output:
        started = psutil.Popen(pinned, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    with ending(started) as process:
        url = _url_said(process, log) if peer.name == "TensorZero" else None
        gateway = Gateway(peer.name, url or f"http://127.0.0.1:{place.port}", [process], **way)
        try:
            wait_until_answering(gateway, _START_S)
        except TimeoutError as error:
            raise Unavailable(str(error)) from error
        family = [process, *process.children(recursive=True)]
        yield Gateway(peer.name, gateway.url, family, **way)


def _url_said(process: psutil.Popen, log: Path) -> str:
    """Return the address that it chose by itself, once it has."""
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if line.startswith("http://"):
                return line.partition("/openai")[0]
        time.sleep(0.1)
    raise Unavailable(log.read_text()[-200:])
