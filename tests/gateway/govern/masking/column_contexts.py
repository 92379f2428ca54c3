"""Handwritten contexts of `columns.jsonl`: only the head of a column or list says what a number is.

Written before the rules for columns were.
"""

from case_contexts import Contexts

COLUMNS: Contexts = {
    "bank_account": (
        (
            (
                "| 이름 | 계좌번호 | 금액 |\n|---|---|---|\n"
                "| 김철수 | {bank_account} | {near:amount} |\n"
                "| 이영희 | {bank_account} | {near:amount} |"
            ),
            (
                "| 번호 | 주문번호 | 예금주 | 환불 계좌 |\n| --- | --- | --- | :---: |\n"
                "| 1 | {near:digits_12} | 남궁민수 | {bank_account} |"
            ),
            (
                "이름 | 입금계좌 | 비고\n--- | --- | ---\n김철수 | {bank_account} | 확인\n"
                "이영희 | {bank_account} | 보류"
            ),
            (
                "| **성명** | **계좌번호** |\n|:--|--:|\n| 홍길동 | `{bank_account}` |\n"
                "| 성춘향 | `{bank_account}` |"
            ),
            (
                "| Name | Bank account | Since |\n|---|---|---|\n"
                "| Kim Cheolsu | {bank_account} | {near:date} |\n"
                "| Lee Younghee, Seoul branch | {bank_account} | {near:date} |"
            ),
            (
                "아래 표를 참고하세요.\n\n| 거래처 | 담당 | 계좌번호(원화) |\n|---|---|---|\n"
                "| 가나다상사 | 박 과장 | {bank_account} |\n\n문의는 총무팀으로."
            ),
            "이름,계좌번호,금액\n김철수,{bank_account},50000\n이영희,{bank_account},70000\n",
            (
                '"성명","은행","계좌번호"\n"김철수","가나","{bank_account}"\n'
                '"이영희, 대리","다라","{bank_account}"\n'
            ),
            (
                "id,name,account_number,created\n1,kim,{bank_account},{near:date}\n"
                "2,lee,{bank_account},{near:date}\n"
            ),
            "name;account no.;city\nKim;{bank_account};Seoul\nLee;{bank_account};Busan",
            (
                "사번\t성명\t급여계좌\t입사일\n20231\t김철수\t{bank_account}\t{near:date}\n"
                "20232\t이영희\t{bank_account}\t{near:date}"
            ),
            "name\tbank_account\tamount\nKim\t{bank_account}\t30000\nLee\t{bank_account}\t45000\n",
            "계좌번호\n{bank_account}\n{bank_account}\n{bank_account}\n",
            "환불 계좌번호:\n- {bank_account}\n- {bank_account}\n",
            "## 계좌번호\n\n1. {bank_account}\n2. {bank_account}\n3. {bank_account}\n",
            "입금계좌\n김철수: {bank_account}\n이영희: {bank_account}\n",
            "bank_accounts:\n  - {bank_account}\n  - {bank_account}\nowner: kim\n",
            (
                "고객님의 계좌번호는 다음과 같습니다:\n\n- 김철수 {bank_account}\n"
                "- 이영희 {bank_account}\n"
            ),
            "Account numbers\n{bank_account}\n{bank_account}\n",
        ),
        (
            (
                "| 이름 | 주문번호 | 계좌번호 |\n|---|---|---|\n"
                "| 김철수 | {near:digits_12} | 없음 |\n"
                "| 이영희 | {near:digits_14} | 미등록 |"
            ),
            (
                "| 계좌번호 | 송장 |\n|---|---|\n| 미등록 | {near:digits_12} |\n"
                "| - | {near:digits_14} |"
            ),
            "| 계좌 잔액 | 건수 |\n|---|---|\n| {near:digits_12} | 3 |\n| {near:digits_12} | 4 |",
            (
                "| 계좌번호 | 예금주 |\n|---|---|\n| - | 김철수 |\n\n| 품번 | 수량 |\n|---|---|\n"
                "| {near:digits_12} | 10 |"
            ),
            (
                "| 계좌번호 | 예금주 |\n|---|---|\n| 없음 | 김철수 |\n\n"
                "운송장은 {near:digits_12} 입니다."
            ),
            "| Name | Account holder | Parcel |\n|---|---|---|\n| Kim | Lee | {near:digits_12} |",
            "이름,계좌번호,운송장\n김철수,,{near:digits_12}\n이영희,,{near:digits_14}\n",
            '"성명","계좌번호","품번"\n"김, 철수","","{near:digits_12}"\n',
            "id,parcel,account_number\n1,{near:digits_12},\n2,{near:digits_14},\n",
            "account_name,serial\nkim,{near:digits_14}\nlee,{near:digits_12}\n",
            "성명\t계좌번호\t품번\n김철수\t\t{near:digits_12}\n이영희\t\t{near:digits_14}",
            "이름,계좌번호\n김철수,{near:date}\n이영희,20261002143059\n",
            (
                "| 계좌번호 | 개설일 |\n|---|---|\n| 비공개 | {near:date} |\n"
                "| 비공개 | 20261002143059 |"
            ),
            "계좌번호\n\n품번 목록\n{near:digits_12}\n{near:digits_14}\n",
            "계좌번호\n없음\n{near:digits_12}\n",
            "계좌번호:\n- 없음\n\n이후 바코드 {near:digits_12} 를 스캔합니다.",
            "입금계좌\n주문번호: {near:digits_12}\n승인번호: {near:digits_14}\n",
            "accounts:\n  tracking no: {near:digits_12}\n  invoice: {near:digits_14}\n",
            "계좌 개설 안내\n{near:digits_12}\n{near:digits_14}\n",
            "계좌번호는 알려 드릴 수 없습니다.\n{near:digits_12}\n",
        ),
    ),
    "passport": (
        (
            (
                "| 성명 | 여권번호 | 국적 |\n|---|---|---|\n| 김철수 | {passport} | 대한민국 |\n"
                "| 이영희 | {passport} | 대한민국 |"
            ),
            "성명,여권번호,비고\n김철수,{passport},갱신\n이영희,{passport},신규\n",
            "name\tpassport_no\tcity\nKim\t{passport}\tSeoul\nLee\t{passport}\tBusan\n",
            "여권번호\n{passport}\n{passport}\n",
        ),
        (
            "| 품목 | 로트 | 여권번호 |\n|---|---|---|\n| 나사 | {near:letter_7} | 없음 |",
            "품번,여권번호\n{near:letter_7},\n{near:letter_date},\n",
            "여권번호\n없음\n{near:letter_7}\n{near:letter_date}\n",
        ),
    ),
}
