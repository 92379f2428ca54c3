"""What a model that judges is asked, and what its answer means."""

from typing import Any

import msgspec
import pytest

from config.errors import ConfigError
from config.guardrails import GuardrailSettings, JudgeSettings
from config.load import load_settings
from gateway.errors import InvalidRequest, Unavailable
from gateway.govern.guardrails.guardrails import Found, Guardrails
from gateway.govern.guardrails.judge import Judge, Unreadable, read_moderations, read_said
from gateway.govern.guardrails.parts import LONGEST_PIECE, cut, pieces_of
from gateway.govern.guardrails.verdict import Action


def judge(**settings: Any) -> Judge:
    return Judge(JudgeSettings.model_validate({"model": "m", **settings}))


@pytest.mark.parametrize(
    ("said", "scores"),
    [
        ('{"unsafe": false}', {}),
        ('{"unsafe": true}', {"": 1.0}),
        ('```json\n{"unsafe": true}\n```', {"": 1.0}),
        ('<think>It says "safe".</think>\n{"unsafe": "yes"}', {"": 1.0}),
        ("safe", {}),
        ("\n\nsafe\n", {}),
        ("unsafe\nS1,S10", {"S1": 1.0, "S10": 1.0}),
        ("unsafe\n<script>", {"": 1.0}),
        ("No.", {}),
        ("YES", {"": 1.0}),
    ],
)
def test_what_a_chat_model_says_means_yes_or_no(said: str, scores: dict[str, float]) -> None:
    assert read_said(said) == scores


@pytest.mark.parametrize(
    "said",
    ["", "safe or unsafe, who knows", "I can't judge that", '{"safe": 1}', '{"unsafe": null}', "{"],
)
def test_nonsense_is_no_verdict(said: str) -> None:
    with pytest.raises(Unreadable):
        read_said(said)


def _moderations(*results: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"id": "modr-1", "results": results})


def test_scores_of_moderations_are_read() -> None:
    scored = {"categories": {"violence": True}, "category_scores": {"violence": 0.9, "hate": 0.1}}
    bare = {"categories": {"violence": True, "hate": False}}
    assert read_moderations(_moderations(scored, bare), 2) == [
        {"violence": 0.9, "hate": 0.1},
        {"violence": 1.0},
    ]
    for body in (_moderations(scored), b"{}", b'{"results": [{}, {}]}', b"safe"):
        with pytest.raises(Unreadable):
            read_moderations(body, 2)


@pytest.mark.parametrize(
    ("settings", "action", "said"),
    [
        ({}, Action.BLOCK, "block 0.60 violence"),
        ({"threshold": 0.7}, Action.ALLOW, "allow 0.60 violence"),
        ({"categories": {"violence": 0.5}}, Action.BLOCK, "block 0.60 violence"),
        ({"categories": {"violence": 0.7}}, Action.ALLOW, "allow 0.60 violence"),
        ({"categories": {"hate": 0.4}}, Action.BLOCK, "block 0.40 hate"),
        ({"categories": {"self-harm": 0.1}}, Action.ALLOW, "allow 0.00"),
        ({"action": "flag"}, Action.FLAG, "flag 0.60 violence"),
    ],
)
def test_categories_have_thresholds(settings: dict[str, Any], action: Action, said: str) -> None:
    verdict = judge(**settings).verdict({"violence": 0.6, "hate": 0.4}, "input")
    assert (verdict.action, str(verdict)) == (action, said)


def test_a_word_of_the_models_own_is_no_category() -> None:
    verdict = judge().verdict({"the user's card is 4111": 1.0}, "input")
    assert str(verdict) == "block 1.00"


@pytest.mark.parametrize(
    ("on_failure", "said"), [("block", "block unjudged"), ("allow", "allow unjudged")]
)
def test_what_nobody_judged_is_told_apart(on_failure: str, said: str) -> None:
    verdict = judge(on_failure=on_failure).unjudged("input")
    assert str(verdict) == said
    if on_failure == "allow":
        Found({"judge": verdict}).check()
        return
    with pytest.raises(Unavailable) as refused:
        Found({"judge": verdict}).check()
    assert refused.value.code == "guardrails_unavailable"


def test_what_is_blocked_names_the_part() -> None:
    with pytest.raises(InvalidRequest) as refused:
        Found({"judge": judge().verdict({"": 1.0}, "messages[0].content")}).check()
    assert refused.value.param == "messages[0].content"


def test_a_text_can_not_close_its_fence() -> None:
    asked = [judge().fields(["text"])["messages"] for _ in range(2)]
    fences = [messages[1]["content"].splitlines()[0] for messages in asked]
    assert fences[0] != fences[1]
    assert all(f in messages[0]["content"] for f, messages in zip(fences, asked, strict=True))


def test_each_api_is_asked_in_its_own_words() -> None:
    guard, moderations = judge(api="llama-guard"), judge(api="moderations", model="p/m")
    assert guard.fields(["t"])["messages"] == [{"role": "user", "content": "t"}]
    assert guard.fields(["t"], "q")["messages"] == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "t"},
    ]
    assert moderations.fields(["t", "u"]) == {"input": ["t", "u"]}
    assert "no cats" in judge(rules="no cats").fields(["t"])["messages"][0]["content"]


def test_users_and_tools_are_judged_each_text_once() -> None:
    said = [("system", "s"), ("user", "u"), ("assistant", "a"), ("tool", "t"), ("user", "u")]
    fields = {"messages": [{"role": role, "content": text} for role, text in said]}
    assert [(piece.path, piece.text) for piece in pieces_of(fields)] == [
        ("messages[1].content", "u"),
        ("messages[3].content", "t"),
    ]


def test_long_texts_are_cut_in_pieces_that_overlap() -> None:
    text = "".join(map(str, range(5_000)))
    pieces = list(cut(text))
    assert all(len(piece) <= LONGEST_PIECE for piece in pieces)
    assert all(any(text[at : at + 200] in piece for piece in pieces) for at in range(len(text)))
    assert not list(cut(" \n"))


def test_judges_of_the_agent_and_its_model_are_asked_once() -> None:
    shared = {"judge": {"model": "m", "reads": ["input", "answers"]}}
    rules = {**shared, "models": {"agent": {}, "m": {}, "off": {"judge": None}}}
    guardrails = Guardrails(GuardrailSettings.model_validate(rules))
    assert len(guardrails.judges("t", ("agent", "m"), "input")) == 1
    assert guardrails.judges("t", ("m",), "passages") == []
    assert guardrails.judges("t", ("off",), "input") == []


@pytest.mark.parametrize(
    ("judging", "fault"),
    [
        ({"model": "nobody"}, "guardrails.judge.model: no alias `nobody`"),
        ({"model": "nobody/x"}, "guardrails.judge.model: no alias `nobody/x`"),
        ({"model": "default", "api": "moderations"}, "provider/model"),
        ({"model": "default", "api": "llama-guard", "rules": "x"}, "rules go with"),
    ],
)
def test_a_judge_must_be_there(tmp_path: Any, judging: dict[str, Any], fault: str) -> None:
    file = tmp_path / "naru.yaml"
    file.write_text(msgspec.json.encode({"guardrails": {"judge": judging}}).decode())
    with pytest.raises(ConfigError, match=fault):
        load_settings(file, {})
