"""The worker itself, with models of random weights: made, exported and served apart from us."""

import asyncio
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from config.settings import EmbeddingModelSettings, RerankerSettings
from rag.batching import Text
from rag.embed import Embedder, open_embedder
from rag.embedding_wire import reranker_socket
from rag.embedding_worker import serve
from rag.local_model import Model
from rag.rerank import open_reranker
from rag.tokenizer import open_tokenizer

TESTS = Path(__file__).parents[1]
TEXTS = ["a b c", "가 나 다 라", "z", "c b a " * 30, "q"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `bert`, `xlm` and `cross`."""
    folder = tmp_path_factory.mktemp("models")
    argv = [sys.executable, str(TESTS / "tiny_models.py"), str(folder)]
    subprocess.run(argv, check=True, capture_output=True, timeout=240)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@asynccontextmanager
async def worker(socket: Path, *arguments: str) -> AsyncIterator[None]:
    argv = [sys.executable, "-m", "rag.embedding_worker", f"--socket={socket}", *arguments]
    child = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL)
    while not socket.exists():  # noqa: ASYNC240 - what a supervisor does
        assert child.returncode is None, "the worker did not start"
        await asyncio.sleep(0.05)
    yield
    child.terminate()
    assert await child.wait() == 0


async def vectors(embedder: Embedder) -> list[list[float]]:
    return [list(vector) for vector in await embedder.embed(TEXTS)]


@pytest.mark.parametrize("kind", ["bert", "xlm"])
async def test_openvino_computes_what_torch_does(
    models: Path, cache: Path, tmp_path: Path, kind: str
) -> None:
    model = str(models / kind / "model")
    found = {}
    for backend in ("torch", "openvino"):
        socket = tmp_path / f"{backend}.sock"
        embedder = open_embedder(EmbeddingModelSettings(model=model), socket)
        options = (f"--model={model}", f"--backend={backend}", f"--cache={cache}")
        async with worker(socket, *options):
            found[backend] = await vectors(embedder)
            tokenizer = open_tokenizer(await embedder.tokenizer())
            query = (await embedder.embed(["a b c"], "query"))[0]
            whole = await embedder.embed_whole(["a b c", "z"])
        await embedder.close()
        # [CLS] a b c [SEP], and the prompts `passage :` and `query :` of xlm.
        assert (embedder.max_tokens, embedder.dimensions, whole.tokens) == (48, 32, 8)
        assert tokenizer.limit == {"bert": 46, "xlm": 44}[kind]
        assert len(tokenizer.spans("a b 가")) == 3
        same = list(query) == pytest.approx(found[backend][0], abs=1e-3)
        assert same == (kind == "bert")
    for ours, theirs in zip(found["openvino"], found["torch"], strict=True):
        assert math.hypot(*ours) == pytest.approx(1, abs=1e-3)
        assert sum(a * b for a, b in zip(ours, theirs, strict=True)) > 0.995


def test_what_was_exported_is_served_without_torch(models: Path, cache: Path) -> None:
    code = """
import sys
import time
from pathlib import Path
from rag.embedding_worker import load_model
from rag.local_model import Wanted
wanted = Wanted(sys.argv[1], max_tokens=20, query_prompt="q: ")
model = load_model(wanted, "auto", Path(sys.argv[2]))
print(len(model.compute(["a"])), model.limit, model.prompts["query"])
print({"torch", "transformers", "openvino_telemetry"} & {n for n, m in sys.modules.items() if m})
"""
    argv = [sys.executable, "-c", code, str(models / "bert" / "model"), str(cache)]
    for _ in range(2):
        result = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.splitlines() == ["128 20 q: ", "set()"]


async def test_the_settings_come_before_what_a_model_says(models: Path, tmp_path: Path) -> None:
    model = str(models / "xlm" / "model")
    embedder = open_embedder(EmbeddingModelSettings(model=model), tmp_path / "s")
    options = (f"--model={model}", "--backend=torch", "--max-tokens=20", "--query-prompt=")
    async with worker(tmp_path / "s", *options, "--document-prompt="):
        (query,) = await embedder.embed(["a b c"], "query")
        (document,) = await embedder.embed(["a b c"])
        tokenizer = open_tokenizer(await embedder.tokenizer())
    assert list(query) == pytest.approx(list(document), abs=1e-5)
    assert (embedder.max_tokens, tokenizer.limit) == (20, 18)
    await embedder.close()


async def test_what_nobody_waits_for_any_more_is_not_computed(tmp_path: Path) -> None:
    computed: list[str] = []

    def compute(texts: Sequence[Text]) -> bytes:
        time.sleep(0.2)
        computed.extend(map(str, texts))
        return bytes(4 * len(texts))

    stop, socket = asyncio.Event(), tmp_path / "s"
    model = Model(compute, dimensions=1, count=lambda texts: [1] * len(texts))
    serving = asyncio.create_task(serve(model, socket, stop))
    embedder = open_embedder(EmbeddingModelSettings(model="slow"), socket)
    while not socket.exists():
        await asyncio.sleep(0.01)
    first = asyncio.create_task(embedder.embed(["first"]))
    await asyncio.sleep(0.1)  # it is being computed
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await embedder.embed(["left"])
    assert len(await embedder.embed(["last"])) == 1
    await first
    assert computed == ["first", "last"]
    await embedder.close()
    stop.set()
    await serving


@pytest.mark.parametrize("backend", ["torch", "openvino"])
async def test_a_cross_encoder_scores_each_text_for_itself(
    models: Path, cache: Path, tmp_path: Path, backend: str
) -> None:
    model = str(models / "cross" / "model")
    reranker = open_reranker(RerankerSettings(model=model), tmp_path)
    assert reranker
    options = (f"--model={model}", f"--backend={backend}", f"--cache={cache}", "--rerank")
    async with worker(reranker_socket(tmp_path), *options):
        scores = await reranker.rerank("a b", TEXTS)
        alone = [(await reranker.rerank("a b", [text]))[0] for text in TEXTS]
        cut = await reranker.rerank("a b", ["c b a x y z", "c b a"], max_tokens=3)
        await reranker.check()
        assert await reranker.rerank("a b", []) == []
    await reranker.close()
    assert reranker.model == "model"
    assert scores == pytest.approx(alone, abs=0.02)
    assert len(set(scores)) == len(TEXTS)
    assert all(0 < score < 1 for score in scores)
    assert cut[0] == pytest.approx(cut[1], abs=1e-3)


@pytest.fixture
def refusals(tmp_path: Path) -> list[list[str]]:
    return [
        ["--model", str(tmp_path / "no model")],
        ["--model", str(tmp_path / "no"), "--cache", str(tmp_path / "c"), "--backend=openvino"],
    ]


def test_a_model_that_is_not_there_is_told_in_a_line(
    refusals: list[list[str]], tmp_path: Path
) -> None:
    for options in refusals:
        argv = [sys.executable, "-m", "rag.embedding_worker", "--socket", str(tmp_path / "s")]
        result = subprocess.run(
            [*argv, *options], capture_output=True, text=True, check=False, timeout=120
        )
        assert result.returncode == 1
        last = result.stderr.splitlines()[-1]
        assert "can't load the embedding model" in last
        assert "/no" in last
        assert "Traceback" not in result.stderr
