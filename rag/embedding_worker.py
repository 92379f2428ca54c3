"""An embedding model, or a cross-encoder, in a process of its own.

`python -m rag.embedding_worker --socket PATH --model NAME` serves every other process over one
Unix socket, so that requests of all of them form batches together. It listens as soon as the model
is loaded, not before, and leaves the model's tokenizer beside the socket. The messages are
`rag.embedding_wire`'s.
"""

import argparse
import asyncio
import contextlib
import functools
import signal
import sys
from pathlib import Path

import msgspec

from rag.batching import Batcher, Text
from rag.embedding_wire import (
    EmbedRequest,
    Request,
    RerankRequest,
    Response,
    Withdrawal,
    frame,
    read_frame,
    tokenizer_file,
)
from rag.local_model import Model, UnreadableModel, Wanted
from rag.openvino_model import is_installed, load_openvino
from rag.tokenizer import parse_tokenizer
from rag.torch_model import load_torch


class Service:
    """Answers the requests of all connections from one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tokenizer = parse_tokenizer(model.tokenizer)
        self._counting = asyncio.Lock()
        self.batcher = Batcher(model.compute)

    async def answer(self, request: Request) -> Response:
        """Return the answer, which says so where the model failed."""
        response = Response(request.id, self._model.dimensions, limit=self._model.limit)
        try:
            if isinstance(request, RerankRequest):
                response.numbers = await self._score(request)
                return response
            if request.whole:
                response.tokens = await self._count(request.texts)
            if not response.too_long:
                response.numbers = await self._embed(request)
        except RuntimeError as error:
            return Response(request.id, error=str(error))
        return response

    async def _score(self, request: RerankRequest) -> bytes:
        texts = request.texts
        if request.max_tokens:
            async with self._counting:
                texts = await asyncio.to_thread(self._cut, texts, request.max_tokens)
        pairs: list[Text] = [(request.query, text) for text in texts]
        return await self.batcher.submit(pairs, bulk=True)

    def _cut(self, texts: list[str], most: int) -> list[str]:
        spans = [self._tokenizer.spans(text) for text in texts]
        return [
            text[: found[most - 1][1]] if len(found) > most else text
            for text, found in zip(texts, spans, strict=True)
        ]

    async def _embed(self, request: EmbedRequest) -> bytes:
        prompt = "" if request.whole else self._model.prompts.get(request.kind, "")
        texts = [prompt + text for text in request.texts]
        return await self.batcher.submit(texts, bulk=request.whole or request.kind != "query")

    async def _count(self, texts: list[str]) -> list[int]:
        async with self._counting:
            return await asyncio.to_thread(self._model.count, texts)


async def serve(model: Model, socket: Path, stop: asyncio.Event) -> None:
    """Answer requests at `socket`, replacing a stale one, until `stop` is set."""
    service = Service(model)
    _remove(socket)
    work = asyncio.create_task(service.batcher.run())
    writers: set[asyncio.StreamWriter] = set()
    on_connection = functools.partial(_serve_connection, service, writers)
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
    service: Service,
    writers: set[asyncio.StreamWriter],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    writers.add(writer)
    decoder = msgspec.msgpack.Decoder(EmbedRequest | RerankRequest | Withdrawal)
    answers: dict[int, asyncio.Task[None]] = {}
    try:
        while True:
            asked = decoder.decode(await read_frame(reader))
            if isinstance(asked, Withdrawal):
                if answer := answers.get(asked.id):
                    answer.cancel()
                continue
            answers[asked.id] = answer = asyncio.create_task(_answer(service, asked, writer))
            answer.add_done_callback(functools.partial(_answered, answers, asked.id))
    except (OSError, EOFError, msgspec.DecodeError):
        for answer in answers.values():
            answer.cancel()
    finally:
        writers.discard(writer)
        writer.close()


def _answered(answers: dict[int, asyncio.Task[None]], number: int, _: asyncio.Task[None]) -> None:
    del answers[number]


async def _answer(service: Service, request: Request, writer: asyncio.StreamWriter) -> None:
    response = await service.answer(request)
    writer.write(frame(msgspec.msgpack.encode(response)))
    with contextlib.suppress(OSError):
        await writer.drain()


def load_model(wanted: Wanted, backend: str, cache: Path | None) -> Model:
    """Load a model with OpenVINO, or with torch where that is wanted or OpenVINO can't.

    Raises:
        UnreadableModel: There is no such model here, or `openvino` is wanted and can't.
    """
    if backend == "torch" or cache is None or (backend == "auto" and not is_installed()):
        return load_torch(wanted)
    try:
        return load_openvino(wanted, cache)
    except UnreadableModel as error:
        if backend == "openvino":
            raise
        sys.stderr.write(f"computing with torch: {error}\n")
    return load_torch(wanted)


async def _main(model: Model, socket: Path) -> None:
    _leave_tokenizer(model.tokenizer, tokenizer_file(socket))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(model, socket, stop)


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
    parser.add_argument("--backend", choices=["auto", "openvino", "torch"], default="auto")
    parser.add_argument("--cache", type=Path, help="where models for OpenVINO are kept")
    parser.add_argument("--rerank", action="store_true")
    parser.add_argument("--query-prompt")
    parser.add_argument("--document-prompt")
    parser.add_argument("--max-tokens", type=int)
    options = vars(parser.parse_args())
    socket, backend, cache = (options.pop(name) for name in ("socket", "backend", "cache"))
    try:
        model = load_model(Wanted(**options), backend, cache)
    except UnreadableModel as error:
        sys.stderr.write(f"{error}\n")
        return 1
    asyncio.run(_main(model, socket))
    return 0


if __name__ == "__main__":
    sys.exit(main())
