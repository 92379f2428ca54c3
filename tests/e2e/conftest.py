"""The service as `make run` starts it, once for all end-to-end tests."""

from collections.abc import Iterator

import openai
import pytest
from naru_process import NaruProcess

from gateway.credentials import Credentials


@pytest.fixture(scope="session")
def naru(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NaruProcess]:
    folder = tmp_path_factory.mktemp("e2e")
    with NaruProcess(folder / ".naru", "--demo", "--exit-with-parent") as process:
        process.wait_until_ready()
        yield process


@pytest.fixture(scope="session")
def credentials(naru: NaruProcess) -> Credentials:
    found = Credentials.read(naru.data_dir)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def sdk(credentials: Credentials) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=credentials.url + "/v1", api_key=credentials.api_key) as client:
        yield client
