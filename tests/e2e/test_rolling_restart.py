"""Two instances behind a balancer are replaced one after the other; no request fails."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import httpx
import pytest
from client_load import MESSAGES, Load
from gated_upstream import Gates, gated_upstream
from naru_process import NaruProcess

from auth import SecretBox, create_client, create_key, create_tenant
from config.postgres import migrate, open_pool
from config.settings import AuthSettings
from gateway.supervisor import PACKAGES

_SECRET = "a secret that both instances have in common"


class Balancer:
    """Asks `/health/ready` five times a second and sends to those that say 200, in turn."""

    def __init__(self, instances: Sequence[NaruProcess]) -> None:
        self.instances = list(instances)
        self._ready: list[str] = []
        self._turns = itertools.count()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def pick(self) -> str:
        while not (ready := self._ready):
            time.sleep(0.05)
        return ready[next(self._turns) % len(ready)]

    def wait_for(self, instance: NaruProcess) -> None:
        deadline = time.monotonic() + 60
        while instance.url not in self._ready:
            assert time.monotonic() < deadline, instance.output
            time.sleep(0.05)

    def _look(self) -> None:
        while not self._over.wait(0.2):
            instances = list(self.instances)
            self._ready = [each.url for each in instances if each.get("/health/ready")[0] == 200]


@pytest.fixture
def gates() -> Iterator[Gates]:
    with gated_upstream() as playing:
        yield playing


@pytest.fixture
def environ(empty_database: str, redis_url: str, gates: Gates) -> dict[str, str]:
    return {
        "DATABASE_URL": empty_database,
        "REDIS_URL": redis_url,
        "OPENAI_API_KEY": "sk-upstream",
        "OPENAI_BASE_URL": gates.url,
        "NARU__PROVIDERS__OPENAI__IDLE_TIMEOUT_S": "300",
        "NARU__AUTH__SECRET_KEY": _SECRET,
        "NARU__EMBEDDING__URL": "http://127.0.0.1:9/v1",
        "NARU__SERVER__DRAIN_DELAY_S": "5",
        "NARU__SERVER__GRACE_S": "120",
    }


@pytest.fixture
async def key(empty_database: str, tmp_path: Path) -> str:
    """An API key that every instance knows."""
    await migrate(empty_database, PACKAGES)
    box = SecretBox.load(AuthSettings.model_validate({"secret_key": _SECRET}), tmp_path)
    async with await open_pool(empty_database, size=1, role="naru_auth") as identity:
        await create_tenant(identity, "acme", "Acme")
        await create_client(identity, box, "acme", name="app", client_id="app")
        return (await create_key(identity, box, "app")).key


def test_no_request_fails(tmp_path: Path, gates: Gates, environ: dict[str, str], key: str) -> None:
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start() -> NaruProcess:
            process = NaruProcess(tmp_path / f"data-{next(numbers)}", environ=environ)
            return stack.enter_context(process)

        old = [start(), start()]
        for each in old:
            each.wait_until_ready()
        body = {"model": "openai/slow", "messages": MESSAGES, "stream": True}
        long = httpx.stream(
            *("POST", old[0].url + "/v1/chat/completions"),
            json=body,
            headers={"authorization": f"Bearer {key}"},
            timeout=300,
        )
        with Balancer(old) as balancer, Load(balancer.pick, key) as load, long as answer:
            lines = answer.iter_lines()
            assert "15 days" in next(lines)
            for leaving in old:
                balancer.wait_for(leaving)
                fresh = start()
                fresh.wait_until_ready()
                balancer.instances.append(fresh)
                balancer.wait_for(fresh)
                leaving.process.terminate()
                leaving.wait_for_answer("/health/ready", 503)
                if leaving is old[0]:
                    gates["slow"].set()
                    assert "data: [DONE]" in list(lines)
                assert leaving.process.wait(120) == 0, leaving.output
                balancer.instances.remove(leaving)
        assert not load.faults
        assert len(load.answers) == 4
