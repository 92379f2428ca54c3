"""`/v1/embeddings` on the service's own model."""

import base64
import math
from array import array

import httpx
import openai
import pytest
from gateway_support import Service
from openai_schema import faults

PATH = "/v1/embeddings"
MODEL = "all-MiniLM-L6-v2"


async def test_vectors_are_numbers_or_base64(http: httpx.AsyncClient) -> None:
    asked = {"model": MODEL, "input": ["hello", "world"]}
    answer = (await http.post(PATH, json=asked)).json()
    assert not faults(answer, "CreateEmbeddingResponse")
    assert answer["model"] == MODEL
    assert [item["index"] for item in answer["data"]] == [0, 1]
    first = answer["data"][0]["embedding"]
    assert math.hypot(*first) == pytest.approx(1, abs=1e-4)
    # [CLS] hello [SEP], and the same of world.
    assert answer["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    short = (await http.post(PATH, json=asked | {"encoding_format": "base64"})).json()
    numbers = array("f", base64.b64decode(short["data"][0]["embedding"]))
    assert list(numbers) == pytest.approx(first, abs=1e-5)


async def test_a_null_is_a_field_that_is_absent(http: httpx.AsyncClient) -> None:
    asked = {"model": MODEL, "input": "a", "foo": None, "dimensions": None}
    assert (await http.post(PATH, json=asked)).status_code == 200


async def test_order_is_kept_over_many_inputs(http: httpx.AsyncClient) -> None:
    texts = [f"text {n}" for n in range(150)]
    answer = (await http.post(PATH, json={"model": MODEL, "input": texts})).json()
    assert [item["index"] for item in answer["data"]] == list(range(150))
    alone = (await http.post(PATH, json={"model": MODEL, "input": texts[149]})).json()
    expected = pytest.approx(alone["data"][0]["embedding"], abs=1e-4)
    assert answer["data"][149]["embedding"] == expected


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": "word " * 300}, "input", "context_length_exceeded"),
        ({"input": ["a"] * 70 + ["word " * 300]}, "input[70]", "context_length_exceeded"),
        ({"input": [1, 2, 3]}, "input", None),
        ({"input": "a", "dimensions": 128}, "dimensions", None),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", None),
        ({"input": ""}, "input", None),
        ({"input": ["a", ""]}, "input", None),
        ({"input": ["a", 1]}, "input", None),
        ({"input": []}, "input", None),
        ({}, "input", "missing_required_parameter"),
        ({"input": "a", "foo": 1}, "foo", "unsupported_field"),
    ],
)
async def test_bad_requests(
    http: httpx.AsyncClient, fields: dict[str, object], param: str | None, code: str | None
) -> None:
    answer = await http.post(PATH, json={"model": MODEL, **fields})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (param, code)


async def test_as_many_dimensions_as_there_are_may_be_asked_for(http: httpx.AsyncClient) -> None:
    answer = await http.post(PATH, json={"model": MODEL, "input": "a", "dimensions": 384})
    assert len(answer.json()["data"][0]["embedding"]) == 384


async def test_what_has_no_vectors(http: httpx.AsyncClient) -> None:
    for model, status in {"nothing": 404, "hr": 404, "default": 400, "smart": 400}.items():
        answer = await http.post(PATH, json={"model": model, "input": "a"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, "model"), model


async def test_a_caller_limited_to_other_models(service: Service) -> None:
    headers = {"authorization": f"Bearer {service.limited_key}"}
    async with httpx.AsyncClient(base_url=service.url, headers=headers) as limited:
        answer = await limited.post(PATH, json={"model": MODEL, "input": "a"})
    assert answer.status_code == 404


async def test_the_openai_sdk(service: Service) -> None:
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=service.key) as client:
        answer = await client.embeddings.create(model=MODEL, input=["hello"])
        assert len(answer.data[0].embedding) == 384
        assert MODEL in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve(MODEL)).owned_by == "naru"
