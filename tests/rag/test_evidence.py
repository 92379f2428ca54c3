"""What of a question stands in a sentence, above it, and in its file's name."""

from dataclasses import replace

import pytest
from msgspec import structs
from passages import retrieval_of

from rag.evidence import weigh

QUESTION = "IT헬프데스크 전화번호 알려주세요"
ROWS = "이름 | 부서 | 내선\nIT헬프데스크 | 정보시스템팀 | 7000"


def best(content: str, source: str, heading: str = "") -> float:
    found = retrieval_of(QUESTION, content, heading=heading)
    named = replace(
        found, passages=tuple(structs.replace(p, source=source) for p in found.passages)
    )
    return max(each.coverage for each in weigh(named)[1])


def test_a_files_name_is_the_heading_of_a_table_without_one() -> None:
    headed = best(ROWS, "목록.md", "전화번호부")
    assert best(ROWS, "회사/사내_전화번호부.csv") == pytest.approx(headed)
    assert best(ROWS, "목록.csv") < headed


def test_beside_headings_a_files_name_is_no_evidence() -> None:
    for content, heading in [(ROWS, "목록"), ("# 목록\nIT헬프데스크는 5층에 있습니다.", "")]:
        plain = best(content, "목록.md", heading)
        assert best(content, "전화번호부.md", heading) == pytest.approx(plain)
