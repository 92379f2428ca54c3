"""Which texts are computed together, and in which order."""

import asyncio
import threading
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rag.batching import SLICE_S, Batcher, Text


class Model:
    """Computes lengths, when it is let; `pace_s` is what a character takes."""

    def __init__(self) -> None:
        self.slices: list[list[Text]] = []
        self.started = threading.Semaphore(0)
        self.gate = threading.Event()

    def compute(self, texts: list[Text]) -> bytes:
        self.slices.append(texts)
        self.started.release()
        self.gate.wait(10)
        if "poison" in texts:
            raise ZeroDivisionError
        return array("f", [float(len(text)) for text in texts]).tobytes()


@asynccontextmanager
async def running(model: Model) -> AsyncIterator[Batcher]:
    batcher = Batcher(model.compute)
    work = asyncio.create_task(batcher.run())
    yield batcher
    model.gate.set()
    work.cancel()
    await asyncio.wait([work])


def lengths(numbers: bytes) -> list[float]:
    return list(array("f", numbers))


async def busy(model: Model, batcher: Batcher) -> asyncio.Task[bytes]:
    """Have it compute something that does not end."""
    task = asyncio.create_task(batcher.submit(["first"], bulk=True))
    await asyncio.to_thread(model.started.acquire)
    return task


async def test_a_question_goes_before_documents_that_wait() -> None:
    model = Model()
    async with running(model) as batcher:
        await busy(model, batcher)
        documents = asyncio.create_task(batcher.submit(["d" * 900] * 20, bulk=True))
        await asyncio.sleep(0)
        question = asyncio.create_task(batcher.submit(["question"], bulk=False))
        await asyncio.sleep(0)
        model.gate.set()
        assert lengths(await question) == [8]
        assert lengths(await documents) == [900] * 20
    assert model.slices[1] == ["question"]


async def test_questions_of_several_are_one_slice() -> None:
    model = Model()
    async with running(model) as batcher:
        await busy(model, batcher)
        asked = [asyncio.create_task(batcher.submit([f"q{n}"], bulk=False)) for n in range(10)]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(*asked)
    assert [len(texts) for texts in model.slices] == [1, 10]


async def test_a_slice_is_as_large_as_fits_its_time_and_lengths_are_kept_together() -> None:
    model = Model()
    model.gate.set()
    texts = ["x" * (50 + 950 * (n % 2)) for n in range(60)]
    async with running(model) as batcher:
        batcher._s_per_char = SLICE_S / 5000  # a thousand characters are a fifth of a slice
        numbers = await batcher.submit(texts, bulk=True)
    assert lengths(numbers) == [len(text) for text in texts]
    assert {len(text) for text in model.slices[0]} == {50}
    assert all(len(text) == 1000 for text in model.slices[-1])


async def test_texts_of_a_slice_are_of_similar_length_unless_they_are_short() -> None:
    model = Model()
    async with running(model) as batcher:
        batcher._s_per_char = SLICE_S / 1_000_000
        await busy(model, batcher)
        asked = [["x", "x" * 100, "x" * 500, "x" * 900], ["x" * 50, "x" * 200]]
        answers = [asyncio.create_task(batcher.submit(texts, bulk=True)) for texts in asked]
        await asyncio.sleep(0)
        model.gate.set()
        numbers = await asyncio.gather(*answers)
    assert [lengths(each) for each in numbers] == [[1, 100, 500, 900], [50, 200]]
    slices = [[len(text) for text in texts] for texts in model.slices[1:]]
    assert sorted(slices) == [[1, 100], [50], [200], [500, 900]]


async def test_slices_get_smaller_where_the_model_is_slow() -> None:
    clock = iter(range(1, 10_000))
    batcher = Batcher(lambda texts: next(clock) and bytes(4 * len(texts)))
    before = batcher._s_per_char
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rag.batching.time.perf_counter", lambda: float(next(clock)))
        batcher._timed(["x" * 1000])
    assert batcher._s_per_char > 5 * before


async def test_a_short_request_overtakes_a_long_one() -> None:
    model = Model()
    async with running(model) as batcher:
        await busy(model, batcher)
        long = asyncio.create_task(batcher.submit(["l" * 4000] * 30, bulk=True))
        short = asyncio.create_task(batcher.submit(["s" * 4000], bulk=True))
        await asyncio.sleep(0)
        model.gate.set()
        await short
        assert not long.done()
        await long
    place = next(n for n, texts in enumerate(model.slices) if texts[0][0] == "s")
    assert place <= 3


async def test_a_failure_is_told_to_those_it_concerns() -> None:
    model = Model()
    async with running(model) as batcher:
        await busy(model, batcher)
        bad = asyncio.create_task(batcher.submit(["poison"], bulk=False))
        good = asyncio.create_task(batcher.submit(["x" * 9000], bulk=True))
        await asyncio.sleep(0)
        model.gate.set()
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            await bad
        assert lengths(await good) == [9000]


async def test_what_nobody_waits_for_is_not_computed() -> None:
    model = Model()
    async with running(model) as batcher:
        await busy(model, batcher)
        left = asyncio.create_task(batcher.submit(["left"], bulk=True))
        await asyncio.sleep(0)
        left.cancel()
        last = asyncio.create_task(batcher.submit(["last"], bulk=True))
        await asyncio.sleep(0)
        model.gate.set()
        await last
        assert await batcher.submit([], bulk=True) == b""
    assert model.slices == [["first"], ["last"]]
