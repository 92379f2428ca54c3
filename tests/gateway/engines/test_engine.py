"""The real vLLM as a child."""

import aiohttp
from engine_support import ENGINE, RunningEngine


async def test_it_answers_under_its_name_and_counts_tokens(engine: RunningEngine) -> None:
    connector = aiohttp.UnixConnector(str(engine.socket))
    asked = {"model": ENGINE, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    async with aiohttp.ClientSession(connector=connector) as http:
        answer = await http.post("http://engine/v1/chat/completions", json=asked)
        body = await answer.json()
    assert answer.status == 200, body
    assert body["model"] == ENGINE
    assert body["usage"]["completion_tokens"] == 4
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] is not None
