"""Requests of all processes through one model, in slices so short that a question waits for none.

A slice can't be interrupted, so it may take `SLICE_S` only: as many texts as are expected to be
done in that time, none more than twice as long as another, since each is padded to the longest.
"""

import asyncio
import heapq
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

Text = str | tuple[str, str]
"""A text to embed, or a question and a document to score."""

Compute = Callable[[list[Text]], bytes]
"""Texts to their numbers, one behind the other: the same count for each."""

SLICE_S = 0.05
_MAX_TEXTS = 64
_MOST_UNEQUAL = 2
_SHORT_CHARS = 80  # with less, a slice of its own costs more than the padding
_FIRST_GUESS_S = 50e-6  # per character; right within a few slices
_MEASURED_CHARS = 400  # with less, it is not the characters that take the time
_MEMORY = 0.8
# A request's next slice is as if it had come so many requests later: short ones overtake long ones,
# and are themselves overtaken in the end.
_TURN = 8


@dataclass(order=True, slots=True)
class _Request:
    bulk: bool
    turn: int
    texts: Sequence[Text] = field(compare=False)
    places: list[int] = field(compare=False)
    """What is still to do, the longest first: the next is taken from the end."""
    done: asyncio.Future[bytes] = field(compare=False)
    results: list[bytes] = field(compare=False)


class Batcher:
    """Owns the one thread that computes. Questions go before documents, others in turn."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._heap: list[_Request] = []
        self._numbers = itertools.count()
        self._filled = asyncio.Event()
        self._s_per_char = _FIRST_GUESS_S

    async def submit(self, texts: Sequence[Text], *, bulk: bool) -> bytes:
        """Return the texts' numbers, in their order.

        Raises:
            RuntimeError: The model failed.
        """
        if not texts:
            return b""
        places = sorted(range(len(texts)), key=lambda place: -_length(texts[place]))
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        results = [b""] * len(texts)
        heapq.heappush(
            self._heap, _Request(bulk, next(self._numbers), texts, places, done, results)
        )
        self._filled.set()
        return await done

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "model") as thread:
            while True:
                await self._filled.wait()
                taken = self._take()
                if taken:
                    texts = [request.texts[place] for request, place in taken]
                    try:
                        numbers = await loop.run_in_executor(thread, self._timed, texts)
                    except Exception as error:  # noqa: BLE001 - the requests are told, we go on
                        _fail(taken, error)
                    else:
                        _deliver(taken, numbers)
                if not self._heap:
                    self._filled.clear()

    def _timed(self, texts: list[Text]) -> bytes:
        started = time.perf_counter()
        numbers = self._compute(texts)
        chars = len(texts) * max(map(_length, texts))
        if chars >= _MEASURED_CHARS:
            took = (time.perf_counter() - started) / chars
            self._s_per_char = _MEMORY * self._s_per_char + (1 - _MEMORY) * took
        return numbers

    def _take(self) -> list[tuple[_Request, int]]:
        """Return the next slice, of several requests where there is room."""
        taken: list[tuple[_Request, int]] = []
        shortest, longest = sys.maxsize, 0
        while self._heap and len(taken) < _MAX_TEXTS:
            request = self._heap[0]
            if request.done.done():  # nobody waits for it any more
                heapq.heappop(self._heap)
                continue
            length = _length(request.texts[request.places[-1]])
            shortest, longest = min(shortest, length), max(longest, length)
            unequal = longest > _MOST_UNEQUAL * max(shortest, _SHORT_CHARS)
            expected_s = (len(taken) + 1) * longest * self._s_per_char
            if taken and (request.bulk != taken[0][0].bulk or unequal or expected_s > SLICE_S):
                break
            taken.append((request, request.places.pop()))
            if not request.places:
                heapq.heappop(self._heap)
        if taken and taken[-1][0].places:
            last = heapq.heappop(self._heap)
            last.turn += _TURN
            heapq.heappush(self._heap, last)
        return taken


def _length(text: Text) -> int:
    return len(text) + 1 if isinstance(text, str) else sum(map(len, text)) + 1


def _deliver(taken: Sequence[tuple[_Request, int]], numbers: bytes) -> None:
    width = len(numbers) // len(taken)
    for index, (request, place) in enumerate(taken):
        request.results[place] = numbers[index * width : (index + 1) * width]
        if not request.places and all(request.results) and not request.done.done():
            request.done.set_result(b"".join(request.results))


def _fail(taken: Sequence[tuple[_Request, int]], error: Exception) -> None:
    for request, _ in taken:
        if not request.done.done():
            request.done.set_exception(RuntimeError(repr(error)))
