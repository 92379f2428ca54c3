"""What a new user does after `make run`: a token, questions to the agent, the openai SDK."""

import json
import shutil
import time
import urllib.parse
from pathlib import Path

import httpx
import openai
import pytest
from naru_process import NaruProcess, wait_until_gone

from config import embedded
from gateway.credentials import Credentials


@pytest.fixture(scope="module")
def token(credentials: Credentials) -> str:
    answer = httpx.post(
        credentials.url + "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(credentials.client_id, credentials.client_secret),
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def ask(credentials: Credentials, bearer: str, message: str, session: str) -> dict[str, object]:
    answer = httpx.post(
        f"{credentials.url}/v1/agents/{credentials.agent}/chat",
        headers={"authorization": f"Bearer {bearer}"},
        json={"message": message, "session_id": session},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_demo_env_is_private_and_complete(naru: NaruProcess, credentials: Credentials) -> None:
    assert (naru.data_dir / "demo.env").stat().st_mode & 0o777 == 0o600
    assert credentials.url == naru.url
    assert credentials.api_key.startswith("sk-naru-")
    assert credentials.agent == "hr-assistant"
    assert all((credentials.client_id, credentials.client_secret, credentials.store))


def test_the_terminal_shows_what_to_try(naru: NaruProcess) -> None:
    for line in (
        "demo.env",
        "/oauth/token",
        "/chat",
        "연차 휴가는 며칠인가요?",
        "from openai import",
    ):
        assert line in naru.output
    assert "could not read" not in naru.output


def test_a_token_with_basic_or_in_the_body(credentials: Credentials, token: str) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
        "scope": "agents",
    }
    answer = httpx.post(credentials.url + "/oauth/token", data=form).json()
    assert answer["token_type"].lower() == "bearer"
    assert answer["scope"] == "agents"
    assert answer["access_token"].count(".") == token.count(".") == 2


def test_every_address_in_the_metadata_is_this_services(credentials: Credentials) -> None:
    path = "/.well-known/oauth-authorization-server"
    metadata = httpx.get(credentials.url + path).json()
    assert metadata["issuer"] == credentials.url
    keys = httpx.get(metadata["jwks_uri"]).json()["keys"]
    assert all(key["kid"] and "d" not in key for key in keys)


def test_the_example_of_the_contract(credentials: Credentials, token: str) -> None:
    session = "user-123-session-456"
    answer = ask(credentials, token, "연차 휴가는 며칠인가요?", session)
    assert "15일" in str(answer["response"])
    assert answer["session_id"] == session
    references = answer["references"]
    assert isinstance(references, list)
    first = references[0]
    assert first["source"] == "HR_Policy_2026.pdf"
    assert isinstance(first["page"], int)
    assert "15일" in first["content"]
    follow_up = ask(credentials, token, "그럼 3년 차는요?", session)
    assert "16일" in str(follow_up["response"])
    assert follow_up["references"]


def test_the_same_in_english(credentials: Credentials, token: str) -> None:
    answer = ask(credentials, token, "How many days of annual leave do I get?", "english-1")
    assert "15" in str(answer["response"])
    references = answer["references"]
    assert isinstance(references, list)
    assert any(reference["page"] for reference in references)


@pytest.mark.parametrize(
    "question", ["화성의 수도는 어디인가요?", "What is the boiling point of tungsten?"]
)
def test_what_the_handbook_does_not_say_is_not_answered(
    credentials: Credentials, token: str, question: str
) -> None:
    answer = ask(credentials, token, question, f"unknown-{len(question)}")
    assert answer["references"] == []
    assert answer["answered"] is False


def test_the_sdk_lists_the_agent_as_a_model(sdk: openai.OpenAI) -> None:
    assert "hr-assistant" in [model.id for model in sdk.models.list()]


def test_the_sdk_asks_the_agent(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(
        model="hr-assistant", messages=[{"role": "user", "content": "연차 휴가는 며칠인가요?"}]
    )
    choice = answer.choices[0]
    assert "15일" in (choice.message.content or "")
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens > 0


def test_the_sdk_streams_the_agent(sdk: openai.OpenAI) -> None:
    chunks = list(
        sdk.chat.completions.create(
            model="hr-assistant",
            messages=[{"role": "user", "content": "연차 휴가는 며칠인가요?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "15일" in text
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert [bool(c.usage) for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []


def test_the_sdk_sees_openais_errors(sdk: openai.OpenAI, credentials: Credentials) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        sdk.chat.completions.create(model="nothing", messages=[{"role": "user", "content": "x"}])
    body = raised.value.response.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    with (
        openai.OpenAI(base_url=credentials.url + "/v1", api_key="sk-naru-wrong") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_a_dead_embedding_worker_is_told_and_comes_back(naru: NaruProcess) -> None:
    naru.wait_for_answer("/health/ready", 200, {"status": "ready", "degraded": []})
    (worker,) = naru.children("rag.embedding_worker")
    worker.kill()
    down = {"status": "degraded", "degraded": ["embedding"]}
    naru.wait_for_answer("/health/ready", 200, down)
    naru.wait_for_answer("/health/ready", 200, {"status": "ready", "degraded": []})


def test_a_second_start_finds_its_data_and_keeps_its_credentials(tmp_path: Path) -> None:
    folder = tmp_path / ".naru"
    with NaruProcess(folder, "--demo") as first:
        first.wait_until_ready()
        before = Credentials.read(folder)
        assert before is not None
    started = time.monotonic()
    with NaruProcess(folder, "--demo") as second:
        second.wait_until_ready()
        assert time.monotonic() - started < 30
        assert "read HR_Policy_2026.pdf" not in second.output
        after = Credentials.read(folder)
        assert after is not None
        assert after.url == second.url
        assert (after.client_secret, after.api_key) == (before.client_secret, before.api_key)
        answer = ask(after, after.api_key, "연차 휴가는 며칠인가요?", "again")
        assert "15일" in json.dumps(answer, ensure_ascii=False)


def test_urls_have_no_trailing_slash(credentials: Credentials) -> None:
    assert urllib.parse.urlsplit(credentials.url).path == ""


def test_kill_9_leaves_no_process_behind(tmp_path: Path) -> None:
    naru = NaruProcess(tmp_path / ".naru", "--demo")
    naru.wait_until_ready()
    family = naru.family()
    assert any("rag.embedding_worker" in process.cmdline() for process in family)
    naru.kill()
    wait_until_gone(family)
    shutil.rmtree(embedded.runtime_path(naru.data_dir))
