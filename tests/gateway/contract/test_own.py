"""Answers that are made here fit OpenAI's schema: agents, quotes, lists of models."""

import json

import httpx
from openai_schema import faults

ASKED = {"model": "hr", "messages": [{"role": "user", "content": "연차 휴가는 며칠인가요?"}]}


async def test_an_agents_answer(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/v1/chat/completions", json=ASKED)).json()
    assert not faults(answer, "CreateChatCompletionResponse")


async def test_an_agents_stream(http: httpx.AsyncClient) -> None:
    asked = ASKED | {"stream": True, "stream_options": {"include_usage": True}}
    answer = await http.post("/v1/chat/completions", json=asked)
    *chunks, done = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert done == "[DONE]"
    for chunk in chunks:
        assert not faults(json.loads(chunk), "CreateChatCompletionStreamResponse")


async def test_models(http: httpx.AsyncClient) -> None:
    models = (await http.get("/v1/models")).json()
    assert not faults(models, "ListModelsResponse")
    assert {"hr", "default", "smart", "all-MiniLM-L6-v2"} <= {m["id"] for m in models["data"]}
    for name in ("hr", "smart", "fake/some/model"):
        model = (await http.get(f"/v1/models/{name}")).json()
        assert not faults(model, "Model")
        assert model["id"] == name
