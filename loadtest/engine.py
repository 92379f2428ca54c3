"""What the way through Naru costs: tokens/s and time to first token, beside vLLM itself.

`make bench-engine`, or `make bench-engine ARGS="--model /folder --arg dtype=bfloat16"`. One engine;
the same requests go straight to it and through Naru in turns, so that both meet the same machine.
Without `--model` a model of two random layers is made; `--layers` and `--hidden` make it larger,
with weights that vLLM makes up: speed does not depend on what they say.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import engine_support
from naru_process import NaruProcess

from config.settings import EngineSettings
from gateway.children import stop_all
from gateway.engines.engines import Engines
from gateway.engines.probe import is_up

NAME = "bench"
WORDS = "the quick brown fox jumps over the lazy dog and "
START_S = 900
ENOUGH = 0.97
MORE_MS = 5.0


@dataclass
class Arm:
    """One way to the engine, and what was measured on it."""

    name: str
    http: aiohttp.ClientSession
    url: str
    headers: dict[str, str]
    rates: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)


def parse_arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="an id or a folder; default: a random one")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--prompt-words", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arg", action="append", default=[], help="NAME=VALUE for vLLM")
    return parser.parse_args()


def make_model(folder: Path, layers: int, hidden: int) -> None:
    """Make a random model; a large one without its weights."""
    subprocess.run([sys.executable, "-c", engine_support.MAKE_MODEL, str(folder)], check=True)
    if (layers, hidden) == (2, 256):
        return
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_attention_heads": hidden // 128,
        "num_key_value_heads": max(1, hidden // 512),
        "max_position_embeddings": 32_768,
        "layer_types": ["full_attention"] * layers,
    }
    path.write_text(json.dumps(config))
    for weights in folder.glob("*.safetensors"):
        weights.unlink()


def engine_settings(args: argparse.Namespace, folder: Path) -> EngineSettings:
    """Return the settings of the engine that is measured; its model may be made in `folder`."""
    model = args.model
    given = dict(pair.split("=", 1) for pair in args.arg)
    if model is None:
        make_model(folder, args.layers, args.hidden)
        model = str(folder)
        if not list(folder.glob("*.safetensors")):
            given["load-format"] = "dummy"
    return EngineSettings(model=model, args=given)


@asynccontextmanager
async def run_engine(settings: EngineSettings, folder: Path) -> AsyncIterator[str]:
    """Run vLLM as the service does; give its URL."""
    engines = Engines({NAME: settings}, runtime=folder, logs=folder, grace_s=2)
    (replica,) = engines.replicas
    replica.child.start()
    deadline = time.monotonic() + START_S
    try:
        while not await is_up(replica.socket):
            assert time.monotonic() < deadline, replica.log.read_text()[-4000:]
            assert replica.child.starts < 2, replica.log.read_text()[-4000:]
            await asyncio.sleep(0.5)
        yield f"unix://{replica.socket}"
    finally:
        await stop_all([replica.child])


@contextlib.contextmanager
def run_naru(folder: Path, engine: str) -> "contextlib.Iterator[tuple[str, str]]":
    """Run the service on that engine; give its URL and an API key."""
    settings = folder / "naru.yaml"
    settings.write_text(json.dumps({"engines": {NAME: {"urls": [engine]}}}))
    with NaruProcess(folder / "data", "--demo", "--config", str(settings)) as naru:
        naru.wait_until_ready(180)
        env = (folder / "data" / "demo.env").read_text().splitlines()
        key = next(line.partition("=")[2] for line in env if line.startswith("NARU_API_KEY="))
        yield naru.url, key.strip("'\"")


async def ask(arm: Arm, number: int, args: argparse.Namespace) -> tuple[float, int]:
    """Return when the first token came, in seconds, and how many there were."""
    words = (f"{number} {time.time()} " + WORDS * args.prompt_words).split(" ")
    body = {
        "model": NAME,
        "messages": [{"role": "user", "content": " ".join(words[: args.prompt_words])}],
        "max_tokens": args.tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, first, tokens = time.perf_counter(), 0.0, 0
    async with arm.http.post(arm.url, json=body, headers=arm.headers) as answer:
        assert answer.status == 200, await answer.text()
        async for line in answer.content:
            if not first and b'"content":' in line and b'"content":""' not in line:
                first = time.perf_counter() - began
            if b'"completion_tokens":' in line:
                tokens = json.loads(line[6:])["usage"]["completion_tokens"]
    return first, tokens


async def measure(arm: Arm, concurrency: int, args: argparse.Namespace) -> None:
    """One round: every place is filled again as soon as it is free."""
    numbers = iter(range(max(4, 2 * concurrency)))
    results: list[tuple[float, int]] = []

    async def work() -> None:
        results.extend([await ask(arm, number, args) for number in numbers])

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    arm.rates.append(sum(tokens for _, tokens in results) / (time.perf_counter() - began))
    arm.first_tokens += [first for first, _ in results]


async def compare(arms: Sequence[Arm], concurrency: int, args: argparse.Namespace) -> None:
    """Measure both ways in turns and print what one costs more."""
    for arm in arms:
        arm.rates.clear()
        arm.first_tokens.clear()
    for turn in range(args.rounds):
        for arm in arms[:: 1 if turn % 2 else -1]:
            await measure(arm, concurrency, args)
    straight, through = arms
    rates = [statistics.median(arm.rates) for arm in arms]
    firsts = [1000 * statistics.median(arm.first_tokens) for arm in arms]
    ratio, more = rates[1] / rates[0], firsts[1] - firsts[0]
    missed = [] if ratio >= ENOUGH else [f"under {ENOUGH:.0%}"]
    missed += [] if more < MORE_MS else [f"over {MORE_MS:g} ms"]
    print(
        f"{concurrency:4} at a time: {straight.name} {rates[0]:8,.0f} tokens/s, first token "
        f"{firsts[0]:7.1f} ms; {through.name} {rates[1]:8,.0f} tokens/s, {firsts[1]:7.1f} ms; "
        f"{ratio:6.1%}, {more:+.1f} ms {' and '.join(missed)}"
    )


async def main() -> None:
    """Run the engine, the service, and the comparison."""
    args = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="naru-bench-") as name:
        await run(args, Path(name))


async def run(args: argparse.Namespace, folder: Path) -> None:
    """Keep everything that is made in `folder`."""
    settings = engine_settings(args, folder / "model")
    async with run_engine(settings, folder) as engine:
        with run_naru(folder, engine) as (naru, key):
            unix = aiohttp.UnixConnector(engine.removeprefix("unix://"), limit=0)
            tcp = aiohttp.TCPConnector(limit=0)
            timeout = aiohttp.ClientTimeout(total=600)
            async with (
                aiohttp.ClientSession(connector=unix, timeout=timeout) as http,
                aiohttp.ClientSession(connector=tcp, timeout=timeout) as naru_http,
            ):
                path = "/v1/chat/completions"
                headers = {"authorization": f"Bearer {key}"}
                arms = [
                    Arm("vLLM", http, f"http://engine{path}", {}),
                    Arm("Naru", naru_http, naru + path, headers),
                ]
                for arm in arms:
                    await measure(arm, 4, args)  # warm
                for concurrency in args.concurrency:
                    await compare(arms, concurrency, args)


if __name__ == "__main__":
    asyncio.run(main())
