"""The `naru` commands against the running service."""

import io
import json
import os
from pathlib import Path

import httpx
import pytest
from naru_process import NaruProcess
from reportlab.pdfgen.canvas import Canvas

from gateway.credentials import Credentials

_PAGES = (
    "The Zephyr building opens at seven in the morning.",
    "Visitors of the Zephyr building collect a yellow badge at the reception.",
    "The Zephyr cafeteria serves dumplings every Thursday.",
)


@pytest.fixture
def manual(tmp_path: Path) -> Path:
    """A PDF of three pages, each with a fact of its own."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for text in _PAGES:
        canvas.drawString(72, 720, text)
        canvas.showPage()
    canvas.save()
    path = tmp_path / "Zephyr_Manual.pdf"
    path.write_bytes(buffer.getvalue())
    return path


def ask(credentials: Credentials, message: str) -> dict[str, object]:
    answer = httpx.post(
        f"{credentials.url}/v1/agents/{credentials.agent}/chat",
        headers={"authorization": f"Bearer {credentials.api_key}"},
        json={"message": message},
        timeout=30,
    )
    return dict(answer.json())


def test_an_ingested_pdf_is_answered_from_with_the_right_page(
    naru: NaruProcess, credentials: Credentials, manual: Path
) -> None:
    result = naru.run("ingest", str(manual))
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"1 of 1 document(s) added to {credentials.store}\n"
    answer = ask(credentials, "When does the Zephyr cafeteria serve dumplings?")
    assert "Thursday" in str(answer["response"])
    references = answer["references"]
    assert isinstance(references, list)
    assert (references[0]["source"], references[0]["page"]) == ("Zephyr_Manual.pdf", 3)


def test_a_broken_document_is_named_and_the_others_still_load(
    naru: NaruProcess, tmp_path: Path
) -> None:
    (tmp_path / "good.md").write_text("# Good\n\nThe lobster lamp is in room twelve.\n")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing more")
    (tmp_path / "empty.txt").write_bytes(b"")
    result = naru.run("ingest", str(tmp_path))
    assert result.returncode == 1
    assert result.stdout.startswith("1 of 3 document(s) added")
    failed = [line for line in result.stderr.splitlines() if line.startswith(str(tmp_path))]
    assert [line.partition(":")[0].rpartition("/")[2] for line in failed] == [
        "broken.pdf",
        "empty.txt",
    ]
    assert all(len(line.partition(": ")[2]) > 10 for line in failed)
    assert "Traceback" not in result.stderr


def test_a_file_over_the_limit_is_refused_plainly(naru: NaruProcess, tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    path.touch()
    os.truncate(path, 200_000_000)
    result = naru.run("ingest", str(path))
    assert result.returncode == 1
    assert "huge.txt: " in result.stderr
    assert "large" in result.stderr or "413" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_store_is_told(naru: NaruProcess, manual: Path) -> None:
    result = naru.run("ingest", str(manual), "--store", "vs_nothing")
    assert result.returncode == 1
    assert "HTTP 404" in result.stderr


def test_token_prints_only_the_token(naru: NaruProcess, credentials: Credentials) -> None:
    result = naru.run("token", "--scope", "agents")
    assert result.returncode == 0, result.stderr
    token = result.stdout.strip()
    assert token.count(".") == 2
    headers = {"authorization": f"Bearer {token}"}
    assert httpx.get(credentials.url + "/v1/agents", headers=headers).status_code == 200
    assert httpx.get(credentials.url + "/v1/models", headers=headers).status_code == 403


def test_a_new_client_gets_tokens_and_a_new_key_works(
    naru: NaruProcess, credentials: Credentials
) -> None:
    made = naru.run("client", "create", "--name", "Reporting", "--scope", "inference")
    assert made.returncode == 0, made.stderr
    values = dict(line.split("=", 1) for line in made.stdout.splitlines())
    pair = (values["NARU_CLIENT_ID"], values["NARU_CLIENT_SECRET"])
    form = {"grant_type": "client_credentials"}
    answer = httpx.post(credentials.url + "/oauth/token", data=form, auth=pair).json()
    assert answer["scope"] == "inference"
    assert "Reporting  editor  inference" in naru.run("client", "list").stdout
    key = naru.run("key", "create", "--client", pair[0]).stdout.strip()
    headers = {"authorization": f"Bearer {key}"}
    assert httpx.get(credentials.url + "/v1/models", headers=headers).status_code == 200
    assert httpx.get(credentials.url + "/v1/agents", headers=headers).status_code == 403


def test_registration_errors_are_one_line(naru: NaruProcess) -> None:
    for arguments in (
        ["client", "create", "--name", "x", "--scope", "everything"],
        ["client", "create", "--name", "x", "--tenant", "no spaces"],
        ["key", "create", "--client", "client-nobody"],
    ):
        result = naru.run(*arguments)
        assert result.returncode == 2
        assert result.stderr.startswith("naru: ")
        assert result.stderr.count("\n") == 1


def test_doctor_sees_the_running_service(naru: NaruProcess) -> None:
    result = naru.run("doctor")
    assert result.returncode == 0, result.stdout
    assert f"{naru.url}, a Naru serves there" in result.stdout
    assert result.stdout.count("embedded, running") == 2


def test_logs_hold_no_secret_and_no_question(naru: NaruProcess, credentials: Credentials) -> None:
    ask(credentials, "does Wolpertinger get leave?")
    logs = [path.read_text() for path in (naru.data_dir / "logs").iterdir()]
    written = naru.output + json.dumps(logs)
    assert credentials.client_secret not in written
    assert credentials.api_key not in written
    assert "Wolpertinger" not in written
