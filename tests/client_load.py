"""Clients that ask without a pause, on connections that are kept; what went wrong."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

import httpx
from gated_upstream import SAYS

MESSAGES = [{"role": "user", "content": "How many days of annual leave do I get?"}]


class Load:
    """As many clients as said, every other one with streams; `pick` says whom to ask.

    Attributes:
        faults: Requests that failed. None is tried again.
        answers: Whole answers by who gave them.
    """

    def __init__(self, pick: Callable[[], str], key: str, clients: int = 4) -> None:
        self.faults: list[str] = []
        self.answers: Counter[str] = Counter()
        self._pick = pick
        self._headers = {"authorization": f"Bearer {key}"}
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(number % 2 == 0,)) for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, stream: bool) -> None:
        body = {"model": "openai/free", "messages": MESSAGES, "stream": stream}
        with httpx.Client(headers=self._headers, timeout=120) as http:
            while not self._over.is_set():
                url = self._pick()
                try:
                    answer = http.post(f"{url}/v1/chat/completions", json=body)
                except httpx.HTTPError as error:
                    self.faults.append(f"{url} {error!r}")
                    continue
                whole = "[DONE]" in answer.text if stream else SAYS in answer.text
                if answer.status_code != 200 or not whole:
                    self.faults.append(f"{url} {answer.status_code} {answer.text}")
                self.answers[url] += 1
