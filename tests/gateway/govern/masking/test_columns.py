"""Numbers that only the head of their column or list tells."""

import pytest

from gateway.govern.masking.columns import LONGEST_LINE
from gateway.govern.masking.detect import REACH
from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.scan import Scanner, scan

ACCOUNT, PARCEL = "110-123-456789", "378519130561"


def _found(text: str) -> list[str]:
    return [piece for piece, kind in scan(text) if kind]


@pytest.mark.parametrize(
    "text",
    [
        f"| 이름 | 계좌번호 |\n|---|---|\n| 김철수 | {ACCOUNT} |\n",
        f"| 이름 | 계좌번호 |\r\n|---|---|\r\n| 김철수 | {ACCOUNT} |\r\n",
        f"이름|계좌번호\n김\\|철수|{ACCOUNT}\n",
        f"이름,입금계좌\n김철수,{ACCOUNT}\n",
        f'"이름","계좌 번호"\n"김, 철수","{ACCOUNT}"\n',
        f"이름\tbankAccount\n김철수\t{ACCOUNT}\n",
        f"품번,계좌번호\n{PARCEL},{ACCOUNT}\n",
        f"이름      계좌번호         은행\n김철수    {ACCOUNT}   국민\n",
        f"  품번          계좌 번호\n  ------------  --------------\n  {PARCEL}  {ACCOUNT}\n",
        f"계좌번호\n\n1. 김철수 {ACCOUNT}\n",
        f"계좌번호는 다음과 같습니다.\n\n- **김철수**: `{ACCOUNT}`\n",
        f"The account numbers are as follows:\n\n- {ACCOUNT}\n",
        f'{{"account_numbers": [\n  "{ACCOUNT}"\n]}}',
        f"<tr><th>이름</th><th>계좌번호</th></tr><tr><td>김철수</td><td>{ACCOUNT}</td></tr>",
        f"<THEAD><TR>\n<TH>품번\n<TH><b>계좌</b><br>번호\n<TBODY><TR>\n<TD>{PARCEL}\n<TD>{ACCOUNT}",
        f"<tr><th colspan=2>이름<th>계좌\n<tr><td>김<td>철수<td><i title='입금 곳'>{ACCOUNT}</i>",
        f"<tr>\n  <th scope='row'>계좌번호</th>\n  <td class='number right'>{ACCOUNT}</td>\n</tr>",
    ],
)
def test_the_head_says_what_a_number_is(text: str) -> None:
    assert _found(text) == [ACCOUNT]


@pytest.mark.parametrize(
    "text",
    [
        f"| 계좌번호 | 송장 |\n|---|---|\n| 없음 | {PARCEL} |\n",
        f"| 계좌번호 | 이름 |\n|---|---|\n\n| 품번 | 이름 |\n|---|---|\n| {PARCEL} | 나사 |\n",
        f"|계좌번호|이름|\n|-|-|\n|없음|김|\n|품번|이름|\n|-|-|\n|{PARCEL}|나사|\n",
        f"품번,계좌번호\n{PARCEL},\n",
        f"계좌번호,이름\n없음,김철수\n끝\n{PARCEL}\n",
        f"계좌번호\n없음\n{PARCEL}\n",
        f"계좌번호    송장\n없음        {PARCEL}\n",
        f"계좌번호  이름  \n없음  김철수  \n송장은  \n{PARCEL}\n",
        f"계좌번호:\n- 미정\n\n{PARCEL}\n",
        f"계좌번호\n\n승인번호: {PARCEL}\n",
        f"계좌,{'x' * 50}\n{PARCEL},1\n",
        f"계좌,{'x,' * LONGEST_LINE}\n{PARCEL},1\n",
        f"이름,계좌\n{'x' * LONGEST_LINE},{PARCEL}\n",
        f"<tr><th>계좌번호</th><th>송장</th></tr><tr><td>없음</td><td>{PARCEL}</td></tr>",
        f"<tr><th>송장</th><th>계좌번호</th></tr><tr><td>{PARCEL}</td><td>없음</td></tr>",
        f"<tr><th>계좌번호</th></tr><tr><td>없음</td></tr></table>{PARCEL}",
        f"<tr><th>계좌번호</th></tr></table><table><tr><th>송장</th></tr><tr><td>{PARCEL}</td></tr>",
    ],
)
def test_it_says_nothing_of_other_columns_and_of_what_stands_behind(text: str) -> None:
    assert _found(text) == []


def test_passports_and_licences_have_heads_too() -> None:
    assert _found("이름,여권번호\n김철수,R12345678\n이영희,C1234567\n") == ["R12345678", "C1234567"]
    licences = "name\tdriver's license no.\nKim\t11-12-12345678\nLee\t11-12-12345678\n"
    assert _found(licences) == ["11-12-12345678"] * 2


def test_a_tag_that_is_spoken_of_begins_no_table() -> None:
    text = f"A row is a <tr>.\n{'x' * 8_192}\n\n이름,계좌번호\n김철수,{ACCOUNT}\n"
    assert _found(text) == [ACCOUNT]


def test_a_head_counts_however_far_above_a_stream_had_it() -> None:
    scanner, found, held = Scanner(), list[str](), 0
    for line in ["이름,계좌번호\n", *([f"김철수,{ACCOUNT}\n"] * 500)]:
        for character in line:
            pieces = scanner.push(character)
            held += 1 - sum(len(piece) for piece, _ in pieces)
            found += [piece for piece, kind in pieces if kind is Kind.BANK_ACCOUNT]
            assert held <= REACH
    assert found == [ACCOUNT] * 500
