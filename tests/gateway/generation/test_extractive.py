"""Quotes as a target: numbered by passage, streamed whole, refused without passages."""

import pytest
from passages import retrieval_of

from gateway.errors import InvalidRequest
from gateway.generation.extractive import Extractive
from gateway.generation.target import Prompt, view_chunk, view_completion
from rag.testing import InMemoryEmbedder

QUESTION = "병가는 며칠인가요?"
TEXTS = ("연차 휴가는 연간 15일이다.", "병가는 연간 10일까지 쓸 수 있다.")
PROMPT = Prompt({}, include_usage=True, retrieval=retrieval_of(QUESTION, *TEXTS))


async def test_a_quote_names_the_place_of_its_passage() -> None:
    completion = await Extractive(InMemoryEmbedder()).complete(PROMPT)
    view = view_completion(completion.body)
    assert view.choices[0].message.content == f"{TEXTS[1]} [2]"
    assert view.usage is not None
    assert completion.target == "extractive"


@pytest.mark.parametrize(
    ("weight", "between"), [("무게 | 142 g", "\n"), ("무게는 142 g이다.", " ")]
)
async def test_a_row_and_a_sentence_do_not_run_together(weight: str, between: str) -> None:
    launch = "출시일은 10월 20일이다."
    found = retrieval_of("무게와 출시일은 얼마인가요?", weight, launch)
    completion = await Extractive(InMemoryEmbedder()).complete(
        Prompt({}, retrieval=found, threshold=0.01)
    )
    answer = view_completion(completion.body).choices[0].message.content
    assert answer == f"{launch} [2]{between}{weight} [1]"


async def test_a_stream_holds_the_same_text_and_ends_with_usage() -> None:
    stream = await Extractive(InMemoryEmbedder()).stream(PROMPT)
    chunks = [view_chunk(payload) async for payload in stream.payloads]
    assert "".join(chunk.content for chunk in chunks) == f"{TEXTS[1]} [2]"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
    assert chunks[-1].usage is not None


async def test_without_passages_it_says_what_to_configure() -> None:
    with pytest.raises(InvalidRequest, match="providers") as caught:
        await Extractive(InMemoryEmbedder()).complete(Prompt({}))
    assert caught.value.code == "no_language_model"


@pytest.mark.parametrize("similarities", [(), (0.4, 0.4)])
async def test_how_sure_the_passages_must_be_is_the_prompts(
    similarities: tuple[float, ...],
) -> None:
    texts = ("Employees get 15 days of annual leave.", "Sick leave is paid for ten days.")
    question = "Which colleagues ever refuse or regret sick leave?"
    found = retrieval_of(question, *texts, similarities=similarities)

    async def told(threshold: float | None) -> str | None:
        prompt = Prompt({}, retrieval=found, threshold=threshold)
        completion = await Extractive(InMemoryEmbedder()).complete(prompt)
        return view_completion(completion.body).choices[0].message.content

    assert not await told(None), "nobody judged, so the engine does"
    assert await told(0.01) == f"{texts[1]} [2]"
    by_words = await told(0.45)
    assert bool(by_words) is not bool(similarities), "judged already; by meaning it is asked again"
