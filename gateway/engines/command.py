"""How an engine's child is run: its arguments and its environment."""

import re
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from pydantic import JsonValue

from config.embedded import Command
from config.errors import ConfigError
from config.settings import EngineSettings

RESERVED: Mapping[str, str] = {
    **dict.fromkeys(("model", "model-tag"), "engines.{engine}.model says it"),
    "served-model-name": "an engine is called by its name in the settings",
    **dict.fromkeys(
        (
            *("host", "port", "uds", "grpc", "grpc-port", "api-key", "root-path", "ssl-keyfile"),
            *("ssl-certfile", "ssl-ca-certs", "ssl-cert-reqs", "ssl-ciphers"),
            *("enable-ssl-refresh", "data-parallel-supervisor-port"),
        ),
        "Naru reaches its engines through private Unix sockets",
    ),
    **dict.fromkeys(
        ("headless", "api-server-count", "data-parallel-multi-port-external-lb"),
        "a child is one HTTP server; several are engines.{engine}.replicas",
    ),
    "config": "write its arguments in engines.{engine}.args",
    "shutdown-timeout": "server.grace_s says it",
    **dict.fromkeys(
        ("enable-force-include-usage", "enable-prompt-tokens-details", "disable-log-stats"),
        "Naru counts tokens and load by it",
    ),
    **dict.fromkeys(
        ("enable-log-requests", "enable-log-outputs"), "it would write prompts into the log"
    ),
    "trust-request-chat-template": "a request could then run templates of its own",
    "trust-request-mm-kwargs": "a request could then take any amount of memory",
    "allowed-local-media-path": "a request could then read files of this machine",
    **dict.fromkeys(
        ("enable-prompt-embeds", "enable-mm-embeds"), "a request could then bring down the engine"
    ),
    "middleware": "it would see every prompt",
}
"""Arguments of vLLM that are not for `engines.NAME.args`, and why not."""

_DEFAULTS: Mapping[str, JsonValue] = {
    "disable-uvicorn-access-log": True,
    "disable-fastapi-docs": True,
}
_MODULE = "vllm.entrypoints.launchers.api_server.entry"
_STOP_MARGIN_S = 10.0
_DEVICES = "CUDA_VISIBLE_DEVICES"
_GIB = 2**30
_LARGEST_CACHE_GIB = 64
_INHERITED = {
    *("HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LD_PRELOAD", "LOGNAME", "PATH", "SHELL"),
    *("TMPDIR", "TZ", "USER", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE"),
    *("REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy"),
}
_INHERITED_FAMILIES = (
    *("VLLM_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "TOKENIZERS_", "CUDA_", "NVIDIA_", "NCCL_"),
    *("TORCH", "PYTORCH_", "TRITON_", "OMP_", "MKL_", "KMP_", "GOMP_", "GLOO_", "UCX_", "RAY_"),
    *("XDG_", "FLASHINFER_", "NUMBA_", "LC_"),
)


def command(
    name: str, settings: EngineSettings, socket: Path, grace_s: float, replica: int
) -> Command:
    """Return the command of one child of an engine, which listens on `socket`."""
    argv = [
        *(interpreter(settings), "-m", _MODULE, f"--model={settings.model}"),
        *(f"--served-model-name={name}", f"--uds={socket}", f"--shutdown-timeout={grace_s:.0f}"),
        *("--enable-force-include-usage", "--enable-prompt-tokens-details"),
        *arguments(settings.args),
    ]
    title = f"engine-{name}" + (f"-{replica}" if settings.replicas > 1 else "")
    # After the grace time vLLM still ends its core and its workers.
    stop_s = grace_s + _STOP_MARGIN_S
    return Command(title, argv, stop_signal=signal.SIGTERM, grace_s=stop_s)


def interpreter(settings: EngineSettings) -> str:
    """Return the Python that has the engine's vLLM."""
    return str(settings.python or sys.executable)


def arguments(args: Mapping[str, JsonValue]) -> list[str]:
    """Return the settings' arguments as vLLM's command line has them."""
    named = {option(name): value for name, value in args.items()}
    return [word for name, value in {**_DEFAULTS, **named}.items() for word in _words(name, value)]


def option(name: str) -> str:
    """Return an argument's one spelling; the settings may have `max_model_len` too."""
    return name.replace("_", "-")


def _words(name: str, value: JsonValue) -> Iterator[str]:
    if value is None:
        return
    if isinstance(value, bool):
        yield f"--{name}" if value else f"--no-{name}"
    elif isinstance(value, list):
        yield f"--{name}"
        yield from map(_word, value)
    else:
        yield f"--{name}={_word(value)}"


def _word(value: JsonValue) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def check_reserved(name: str, settings: EngineSettings) -> None:
    """Refuse arguments that are Naru's own, or that would let a request do harm.

    Raises:
        ConfigError: There is one; the message says why.
    """
    for written in settings.args:
        reason = RESERVED.get(option(written).removeprefix("no-"))
        if reason:
            raise ConfigError(f"engines.{name}.args.{written}: {reason.format(engine=name)}")


def environment(
    settings: EngineSettings, ours: Mapping[str, str], replica: int = 1
) -> dict[str, str]:
    """Return a child's whole environment: what vLLM reads of ours, and nothing secret of Naru's.

    HF_TOKEN is passed on: a gated model needs it. Replicas divide CUDA_VISIBLE_DEVICES evenly.
    """
    inherited = {
        name: value
        for name, value in ours.items()
        if name in _INHERITED or name.startswith(_INHERITED_FAMILIES)
    }
    inherited.pop("VLLM_API_KEY", None)  # its server would ask us for it
    environ = {
        "VLLM_CPU_KVCACHE_SPACE": str(_cache_gib(settings.replicas)),
        # How long it waits for its idle workers at the end, of which those on the CPU never leave.
        "VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS": "1",
        **inherited,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONSAFEPATH": "1",  # a folder the operator stands in must not shadow vLLM
        "PYTHONUNBUFFERED": "1",
        **settings.env,
    }
    if devices := environ.get(_DEVICES, ""):
        environ[_DEVICES] = _share(devices.split(","), settings.replicas, replica)
    return environ


def _share(devices: list[str], replicas: int, replica: int) -> str:
    """Return the GPUs of one replica; a single GPU is shared by all.

    Raises:
        ConfigError: They can't be divided evenly.
    """
    if len(devices) == 1:
        return devices[0]
    each, left = divmod(len(devices), replicas)
    if left or not each:
        raise ConfigError(
            f"{_DEVICES} has {len(devices)} GPUs, which {replicas} replicas can't share evenly"
        )
    return ",".join(devices[(replica - 1) * each : replica * each])


def _cache_gib(replicas: int) -> int:
    """Return a KV cache for the CPU that leaves room for weights; vLLM would take nearly all."""
    share = _available_bytes() // (4 * replicas * _GIB)
    return max(1, min(share, _LARGEST_CACHE_GIB))


def _available_bytes() -> int:
    """Return the memory that is free, or left to our container (cgroup v2)."""
    machine = re.search(r"^MemAvailable: +(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    limit, used = (_read(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    free = int(machine[1]) * 1024 if machine else 0
    return min(free, int(limit) - int(used)) if limit.isdigit() and used.isdigit() else free


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""
