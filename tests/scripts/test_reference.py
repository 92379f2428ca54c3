"""The reference pages tell what the code does."""

from pathlib import Path

import pytest

from scripts.reference.errors import errors_page
from scripts.reference.settings import settings_page

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(
    ("name", "page"), [("settings.md", settings_page), ("errors.md", errors_page)]
)
def test_a_page_is_up_to_date(name: str, page: object) -> None:
    assert callable(page)
    assert (REFERENCE / name).read_text() == page(), "run `make reference`"


def test_the_settings_have_their_types_bounds_and_defaults() -> None:
    page = settings_page()
    assert "## `server`\n" in page
    assert "| `port` | integer, ≥ 1, ≤ 65535 | `8080` |" in page
    assert "| `url` | text |  | Also REDIS_URL. |" in page
    assert "As `guardrails.injection`." in page


@pytest.mark.parametrize(
    "row",
    [
        "| `session_not_found` | 404 | `invalid_request_error` | no such session of yours |",
        "| `invalid_token` | 401 | `authentication_error` |",
        "| `store_unavailable` | 503 | `service_unavailable` |",
        "| `rate_limit_exceeded` | 429 | `rate_limit_error` |",
        "| `invalid_media` | 400 | `invalid_request_error` | …: ",
        "| `invalid_image_url` | 400 | `invalid_request_error` | …: remote media is fetched from ",
        "| `context_length_exceeded` | 400 | `invalid_request_error` | … tokens are more than ",
        "| `upstream_status_…` | 502 | `upstream_error` | … answered status … |",
        "| `upstream_unreachable` | 502 | `upstream_error` |",
        "| `queue_full` | 503 | `service_unavailable` | … has as much to do as it can take",
        "| `head_too_large` | 431 | `invalid_request_error` | the request line and headers are ",
    ],
)
def test_errors_are_found_wherever_they_are_made(row: str) -> None:
    assert row in errors_page()
