"""What of a message is its question."""

import time

import pytest

from rag.asked import asked

ASKED = "수습기간은 몇 개월인가요?"


@pytest.mark.parametrize(
    "message",
    [
        ASKED,
        f"안녕하세요, {ASKED}",
        f"안녕하세요 {ASKED}",
        f"혹시 {ASKED}",
        "수습기간은 몇 개월인가요? 알 수 있을까요?",
        f"Hello there, {ASKED}",
        f"{ASKED} Thanks a lot in advance!",
    ],
)
def test_greetings_and_thanks_are_no_part_of_it(message: str) -> None:
    assert (asked(message).question, asked(message).context) == (ASKED, "")


@pytest.mark.parametrize(
    "request_",
    [
        "여쭤봐도 될까요?",
        "알려 주시면 감사하겠습니다.",
        "확인 부탁드립니다.",
        "알려 주실 수 있나요?",
        "알고 싶습니다",
        "궁금해서 문의드립니다.",
        "좀 알려 주시겠어요?",
    ],
)
def test_nor_is_the_request_for_an_answer(request_: str) -> None:
    assert asked(f"수습기간은 몇 개월인지 {request_}").question.removesuffix(" 좀") == (
        "수습기간은 몇 개월인지"
    )


@pytest.mark.parametrize(
    "message",
    [
        "How many days do I get, thanks in advance",
        "Hi there, could you kindly tell me how many days do I get?",
        "Good morning! Can you please let me know: how many days do I get?",
    ],
)
def test_polite_english(message: str) -> None:
    assert asked(message).question.rstrip("?").casefold() == "how many days do i get"


@pytest.mark.parametrize(
    ("message", "context"),
    [
        (f"수고 많으십니다. {ASKED}", "수고 많으십니다."),
        (f"입사한 지 얼마 안 돼서 잘 모르는데요, {ASKED}", "입사한 지 얼마 안 돼서 잘 모르는데요,"),
        (f"규정집을 찾아봤는데 못 찾겠어요. {ASKED}", "규정집을 찾아봤는데 못 찾겠어요."),
        (f"I could not find it in the handbook. {ASKED}", "I could not find it in the handbook."),
    ],
)
def test_what_is_stated_beside_the_question(message: str, context: str) -> None:
    assert (asked(message).question, asked(message).context) == (ASKED, context)
    assert asked(message).whole == f"{context} {ASKED}"


@pytest.mark.parametrize(
    "message",
    [
        "회사를 그만두려면 얼마나 미리 알려야 하나요?",
        "급여 명세서는 어디서 확인하나요?",
        "제주도 날씨 알려줘",
        "감사 보고서는 누가 쓰나요?",
        "그건 언제 지급돼요? 복지 포인트",
        "연차, 반차, 병가는 며칠인가요?",
        "Can I take my dog, my cat and my parrot?",
        "When is pay day? What if it is a Sunday?",
        "Annual leave is 15 days.",
        "Who were E. E. Cummings, Dr. Kim and Mrs. Lee, and what is No. 5?",
        "Thanks!",
        "",
    ],
)
def test_what_is_all_question_stays(message: str) -> None:
    assert (asked(message).question, asked(message).context) == (message, "")


def test_what_stands_in_parentheses_is_neither() -> None:
    parts = asked("Hi, what of the kit. (annual leave)")
    assert (parts.question, parts.context, parts.aside) == ("what of the kit.", "", "annual leave")
    assert parts.whole == "what of the kit. (annual leave)"


def test_what_asks_is_parted_from_what_it_asks_about() -> None:
    assert asked("지체상금은얼마인가요?").question == "지체상금은 얼마인가요?"


@pytest.mark.parametrize("piece", ["부탁", "부탁 ", "thanks ", "확인 ", " ", "하", ". ", "요,"])
def test_a_long_message_is_read_in_linear_time(piece: str) -> None:
    message = piece * 10_000 + "x"
    started = time.perf_counter()
    asked(message)
    assert time.perf_counter() - started < 2
