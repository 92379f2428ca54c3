"""The real vLLM as a child."""

import asyncio

import aiohttp
from engine_support import ENGINE, RunningEngine


async def test_it_answers_under_its_name_and_counts_tokens(engine: RunningEngine) -> None:
    await _check_answer(engine)


async def test_after_kill_9_it_is_started_again_and_answers(mortal_engine: RunningEngine) -> None:
    await mortal_engine.wait_until_up()
    starts = mortal_engine.replica.child.starts
    mortal_engine.kill()
    while mortal_engine.replica.up:
        await asyncio.sleep(0.05)
    await mortal_engine.wait_until_up()
    assert mortal_engine.replica.child.starts == starts + 1
    await _check_answer(mortal_engine)


async def _check_answer(engine: RunningEngine) -> None:
    connector = aiohttp.UnixConnector(str(engine.socket))
    asked = {"model": ENGINE, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    async with aiohttp.ClientSession(connector=connector) as http:
        answer = await http.post("http://engine/v1/chat/completions", json=asked)
        body = await answer.json()
    assert answer.status == 200, body
    assert body["model"] == ENGINE
    assert body["usage"]["completion_tokens"] == 4
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] is not None
