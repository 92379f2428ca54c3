"""Every policy of an agent has its effect; a follow-up is made whole; sources stay eligible."""

from dataclasses import replace

import pytest
from desk import APP, Desk
from knowledge import fill

import rag
from config.agents import AgentSettings
from gateway.agents.definition import AnswerPolicy, HistoryPolicy, RetrievalPolicy
from gateway.agents.draft import Question
from gateway.govern.charge import Asked, Charge
from gateway.sessions.recall import recall

ANNUAL = "연차 휴가는 며칠인가요?"


def account() -> Charge:
    return Charge(APP, Asked("agent", "hr"))


def prompt(desk: Desk) -> list[dict[str, str]]:
    return desk.asked["answer"][-1]["messages"]


async def test_a_follow_up_is_rewritten_by_the_model(desk: Desk, session: str) -> None:
    whole = "3년 차의 연차 휴가는 며칠인가요?"
    desk.plays("연차 휴가는 연간 15일이다. [1]", rewriting=whole)
    first = await desk.ask(ANNUAL, session)
    assert "rewriting" not in desk.asked, "a first question stands by itself"
    assert (await desk.trace(session, first)).searched.by == "none"
    answer = await desk.ask("그럼 3년 차는요?", session)
    traced = (await desk.trace(session, answer)).searched
    assert (traced.text, traced.by) == (whole, "model")
    (asked,) = desk.asked["rewriting"]
    assert asked["max_completion_tokens"] <= 256
    assert "tools" not in asked
    assert ANNUAL in asked["messages"][1]["content"]
    assert prompt(desk)[-1]["content"].endswith("\n\n그럼 3년 차는요?"), "as the user said it"


@pytest.mark.parametrize("rewriting", ["", "How many days?", "3년 차\n연차?", "3년 차는 15일 [1]"])
async def test_by_rule_where_the_model_fails_or_says_something_else(
    desk: Desk, session: str, rewriting: str
) -> None:
    desk.plays("연차 휴가는 연간 15일이다. [1]", rewriting=rewriting)
    await desk.ask(ANNUAL, session)
    answer = await desk.ask("그럼 3년 차는요?", session)
    traced = (await desk.trace(session, answer)).searched
    assert (traced.text, traced.by) == ("그럼 3년 차는요? (연차 휴가 며칠)", "rule")


async def test_a_slow_model_is_not_waited_for(desk: Desk, session: str) -> None:
    desk.plays("연차 휴가는 연간 15일이다. [1]", rewriting="3년 차의 연차 휴가는 며칠인가요?")
    await desk.ask(ANNUAL, session)
    preparer = desk.agents._preparer
    for rewrite_timeout_s in (0.0, 0.000001):
        limits = AgentSettings(rewrite_timeout_s=rewrite_timeout_s)
        asked = Question("그럼 3년 차는요?", session)
        prepared = await replace(preparer, limits=limits).prepare(account(), desk.agent(), asked)
        assert prepared.asked.by == "rule"


async def test_without_a_language_model_nobody_is_asked(desk: Desk, session: str) -> None:
    desk.plays("", rewriting="x")
    agent = desk.agent("words")
    await desk.ask(ANNUAL, session, agent)
    answer = await desk.ask("그럼 3년 차는요?", session, agent)
    assert "16일" in answer.text
    assert (await desk.trace(session, answer)).searched.by == "rule"
    assert not desk.asked


async def test_what_was_cited_stays_eligible_until_it_is_deleted(desk: Desk, session: str) -> None:
    store = (await rag.create_store(desk.pool, APP, name="crowd")).id
    crowd = {f"{n}.md": f"Parking lot number {n} is free of charge." for n in range(24)}
    leave = {"leave.md": "Employees get 15 days of annual leave."}
    files = await fill(desk.pool, desk.embedder, store, {**crowd, **leave})
    agent = desk.agent("words", stores=(store,), top_k=3)
    first = await desk.ask("How many days of annual leave?", session, agent)
    assert [reference.source for reference in first.references] == ["leave.md"]

    async def candidates() -> dict[str, bool]:
        answer = await desk.ask("Is parking lot 7 free of charge?", session, agent)
        return {
            each.source: each.earlier for each in (await desk.trace(session, answer)).candidates
        }

    assert (await candidates())["leave.md"] is True
    assert "leave.md" not in await candidates(), "the answer before this one did not cite it"
    await desk.ask("How many days of annual leave?", session, agent)
    await rag.remove_file(desk.pool, APP, store, files["leave.md"].id)
    assert "leave.md" not in await candidates()


async def test_a_deleted_store_is_left_out_while_there_is_another(
    desk: Desk, session: str, caplog: pytest.LogCaptureFixture
) -> None:
    gone = [(await rag.create_store(desk.pool, APP, name=name)).id for name in ("old", "older")]
    agent = desk.agent("words", stores=(gone[0], desk.store, gone[1]))
    for store in gone:
        await rag.delete_store(desk.pool, APP, store)
    assert "15일" in (await desk.ask(ANNUAL, session, agent)).text
    warned = [each.getMessage() for each in caplog.records if each.name == "gateway.agents.prepare"]
    assert warned == [f"agent hr is without its vector store {store}" for store in gone]
    with pytest.raises(rag.NotFound, match=gone[1]):
        await desk.ask(ANNUAL, session, desk.agent("words", stores=tuple(gone)))


async def test_how_many_passages_and_how_good_they_must_be(desk: Desk, session: str) -> None:
    desk.plays("연차 휴가는 연간 15일이다. [1]")
    agent = desk.agent(top_k=1, retrieval=RetrievalPolicy(score_threshold=0.4))
    answer = await desk.ask(ANNUAL, session, agent)
    assert prompt(desk)[-1]["content"].count("<passage ") == 1
    outcomes = {each.outcome for each in (await desk.trace(session, answer)).candidates}
    assert outcomes == {"kept", "score_threshold"}
    await desk.ask(ANNUAL, session, desk.agent(top_k=2))
    assert prompt(desk)[-1]["content"].count("<passage ") == 2


async def test_the_reranker_and_the_legs_are_the_agents_to_choose(desk: Desk, session: str) -> None:
    question = "When are travel expenses reimbursed?"
    desk.plays("Within 30 days. [1]")

    async def best(policy: RetrievalPolicy) -> tuple[float | None, float, float]:
        answer = await desk.ask(question, session, desk.agent(retrieval=policy))
        first = (await desk.trace(session, answer)).candidates[0]
        assert first.dense
        return first.reranked, first.score, first.fused

    reranked, score, _ = await best(RetrievalPolicy())
    assert reranked == pytest.approx(score, abs=1e-4)
    reranked, score, fused = await best(RetrievalPolicy(rerank=False))
    assert (reranked, score) == (None, fused)
    for share in (0.0, 1.0):
        policy = RetrievalPolicy(rerank=False, dense_weight=share)
        prepared = await desk.agents._preparer.prepare(
            account(), desk.agent(retrieval=policy), Question(question)
        )
        assert prepared.retrieval.dense_weight == share


async def test_how_sure_it_must_be(desk: Desk, session: str) -> None:
    never = desk.agent("words", answer=AnswerPolicy(threshold=1.0))
    declined = await desk.ask(ANNUAL, session, never)
    assert (declined.answered, declined.references) == (False, [])
    traced = await desk.trace(session, declined)
    assert (traced.abstained, traced.verdict.threshold) == ("not_in_documents", 1.0)
    assert not traced.verdict.answerable
    question = "병가 휴가 보상금 지급 절차는 어떻게 되나요?"
    assert not (await desk.ask(question, session, desk.agent("words"))).answered
    always = desk.agent("words", answer=AnswerPolicy(threshold=0.0))
    assert (await desk.ask(question, session, always)).answered


async def test_an_answer_without_sources_says_so(desk: Desk, session: str) -> None:
    desk.plays("파리입니다 [1]. https://evil.example/x")
    agent = desk.agent(answer=AnswerPolicy(without_sources="answer"))
    answer = await desk.ask("프랑스의 수도는 어디인가요?", session, agent)
    assert answer.text == (
        "문서에서 찾을 수 없어, 문서에 근거하지 않고 답합니다.\n\n파리입니다. (링크 삭제)"
    )
    assert (answer.answered, answer.references) == (False, [])
    assert "<passage" not in json_of(prompt(desk))
    traced = await desk.trace(session, answer)
    assert traced.answered_without_sources
    assert traced.abstained == "not_in_documents"
    live = await desk.agents.stream(APP, agent, Question("프랑스의 수도는 어디인가요?"))
    parts = [part async for part in live.parts]
    assert "".join(part for part in parts if isinstance(part, str)) == answer.text
    # Without a model there is nobody who could.
    words = desk.agent("words", answer=AnswerPolicy(without_sources="answer"))
    assert "문서에서 찾을 수 없습니다" in (await desk.ask("프랑스의 수도는?", session, words)).text
    # By default it is not asked.
    desk.plays("파리입니다.")
    assert "찾을 수 없습니다" in (await desk.ask("프랑스의 수도는 어디인가요?", "x")).text
    assert "answer" not in desk.asked


def json_of(messages: list[dict[str, str]]) -> str:
    return "\n".join(message["content"] for message in messages)


async def test_how_much_of_the_history_is_given(desk: Desk, session: str) -> None:
    desk.plays("연차 휴가는 연간 15일이다. [1]")
    for _ in range(3):
        await desk.ask(ANNUAL, session)
    for policy, messages in (
        (HistoryPolicy(), 6),
        (HistoryPolicy(messages=3), 2),
        (HistoryPolicy(messages=0), 0),
        (HistoryPolicy(tokens=40), 2),
        (HistoryPolicy(tokens=0), 0),
    ):
        asked = Question(ANNUAL, session)
        agent = desk.agent(history=policy)
        prepared = await desk.agents._preparer.prepare(account(), agent, asked)
        assert len(prepared.history.messages) == messages, policy
        assert prepared.history.fallen == 6 - messages


async def test_what_falls_out_is_summarized_once_and_kept(desk: Desk, session: str) -> None:
    desk.plays("연차 휴가는 연간 15일이다. [1]", summary="사용자는 연차를 물었다. </summary>")
    agent = desk.agent(history=HistoryPolicy(messages=4, summarize=True))
    for _ in range(3):
        await desk.ask(ANNUAL, session, agent)
    assert "summary" not in desk.asked
    answer = await desk.ask(ANNUAL, session, agent)
    (asked,) = desk.asked["summary"]
    assert asked["messages"][1]["content"].count(f"user: {ANNUAL}") == 2, "down to half"
    fenced = "<summary>\n사용자는 연차를 물었다. (/summary>\n</summary>\n\n<passage"
    assert prompt(desk)[-1]["content"].startswith(fenced)
    assert len(prompt(desk)) == 2 + 2
    history = (await desk.trace(session, answer)).history
    assert (history.summarized, history.messages, history.fallen) == (True, 2, 4)
    await desk.ask(ANNUAL, session, agent)
    assert prompt(desk)[-1]["content"].startswith(fenced)
    assert len(desk.asked["summary"]) == 1, "not at every turn"
    await desk.ask(ANNUAL, session, agent)
    assert "<summary>" in desk.asked["summary"][1]["messages"][1]["content"], "the old one with it"
    # Who wants none is given the messages themselves.
    asked_again = Question(ANNUAL, session)
    prepared = await desk.agents._preparer.prepare(account(), desk.agent(), asked_again)
    assert (len(prepared.history.messages), prepared.history.summary) == (12, "")


async def test_without_a_summary_the_newest_are_given(desk: Desk, session: str) -> None:
    desk.plays("연차 휴가는 연간 15일이다. [1]", summary="")
    policy = HistoryPolicy(messages=2, summarize=True)
    for model in ("smart", "words"):
        for _ in range(3):
            await desk.ask(ANNUAL, f"{session}-{model}", desk.agent(model, history=policy))
        found = await recall(desk.pool, APP, f"{session}-{model}", summarized=True)
        assert (len(found.messages), found.summary) == (6, "")
    assert len(prompt(desk)) == 2 + 2


async def test_a_prompt_holds_so_many_tokens_of_passages(desk: Desk) -> None:
    preparer = replace(desk.agents._preparer, limits=AgentSettings(passage_tokens=200))
    store = (await rag.create_store(desk.pool, APP, name="long")).id
    await fill(desk.pool, desk.embedder, store, {"a.md": "annual leave is long. " * 100})
    agent = desk.agent(stores=(store,), top_k=4)
    prepared = await preparer.prepare(account(), agent, Question("How long is annual leave?"))
    assert len(prepared.retrieval.passages) > len(prepared.kept.passages) == 1


async def test_hosted_models_see_nothing_of_what_must_stay(desk: Desk, session: str) -> None:
    desk.plays("연차 휴가는 연간 15일이다. [1]", rewriting="x", summary="y")
    agent = desk.agent(residency="local", history=HistoryPolicy(messages=0, summarize=True))
    await desk.ask(ANNUAL, session, agent)
    await desk.ask("그럼 3년 차는요?", session, agent)
    assert not desk.asked
