"""`/v1/completions`: what it is asked, what it sends on, who can't answer it."""

import httpx
import pytest
from upstream_support import Upstream, json_answer

PATH = "/v1/completions"
COMPLETION = b'{"choices":[{"text":" there","finish_reason":"length"}]}'


async def test_it_goes_through_the_ladder(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.answer = lambda _: json_answer(COMPLETION)
    asked = {"model": "smart", "prompt": ["a", "b"], "max_tokens": 3, "n": None, "own": {"x": 1}}
    answer = await http.post(PATH, json=asked)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["text"] == " there"
    assert answer.headers["x-naru-target"] == "fake/gpt-x"
    sent = {"model": "gpt-x", "prompt": ["a", "b"], "max_tokens": 3, "own": {"x": 1}}
    assert upstream.asked[-1] == sent


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "default", "prompt": "a"}, 400, "model"),
        ({"model": "hr", "prompt": "a"}, 404, "model"),
        ({"model": "nothing", "prompt": "a"}, 404, "model"),
        ({"model": "smart"}, 400, "prompt"),
        ({"model": "smart", "prompt": "a", "logprobs": 6}, 400, "logprobs"),
        ({"model": "smart", "prompt": "a", "best_of": 21}, 400, "best_of"),
        ({"model": "smart", "prompt": ["a", 1]}, 400, "prompt"),
    ],
)
async def test_bad_requests(
    http: httpx.AsyncClient, body: dict[str, object], status: int, param: str | None
) -> None:
    answer = await http.post(PATH, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param
