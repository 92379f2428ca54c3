"""Rows become lines that can be understood alone."""

from rag.parse.tables import Spans, fill_down, sheet_text, table_text


def test_cells_stay_in_a_line_and_empty_ones_in_their_place() -> None:
    assert table_text([["a", "b\nb", "c"], ["", "", ""], ["1", "", "3"], ["1", "", ""]]) == (
        "a | b b | c\n1 |  | 3\n1"
    )
    assert table_text([]) == ""


def test_a_long_table_repeats_its_first_row() -> None:
    rows = [["종류", "설명"], *([f"휴가{n}", "긴 설명 " * 10] for n in range(40))]
    blocks = table_text(rows).split("\n\n")
    assert len(blocks) > 5
    assert all(block.startswith("종류 | 설명\n휴가") for block in blocks)
    assert sum(block.count("\n") for block in blocks) == 40


def test_a_list_and_a_long_first_row_are_not_repeated() -> None:
    assert table_text([[f"item {n}"] for n in range(200)]).count("item 0") == 1
    assert table_text([["x" * 300, "y"], *[["a" * 50, "b"]] * 100]).count("y") == 1


def test_a_form_is_not_taken_for_a_table_with_a_header() -> None:
    form = [["성명", "김철수", "부서", "영업팀"], ["직급", "과장", "내용 " * 100, "서울"]]
    assert ": " not in sheet_text(form)


def test_cells_beyond_the_header_are_kept() -> None:
    rows = [["name", "pay"], *[["Kim", "100", "extra"]] * 90]
    assert sheet_text(rows).split("\n\n")[0] == "name: Kim | pay: 100 | extra"


def test_a_table_goes_on_behind_an_empty_row() -> None:
    rows = [["name", "pay"], *[["Kim", "100"]] * 90, ["", ""], ["Lee", "200"]]
    assert sheet_text(rows).endswith("name: Lee | pay: 200")


def test_a_box_and_a_page_laid_out_in_cells_keep_their_lines() -> None:
    long = "a paragraph\n" * 50
    assert table_text([["in a\nbox"], ["", long, "b"]]) == f"in a\nbox\n{long.strip()}\n\nb"


def test_an_empty_first_cell_keeps_its_place() -> None:
    rows = [["코드", "담당", "대리인"], ["A1", "김하나", ""], ["", "무소속", "이넷"]]
    assert (
        table_text(rows) == sheet_text(rows) == "코드 | 담당 | 대리인\nA1 | 김하나\n| 무소속 | 이넷"
    )


def test_columns_that_no_row_has_are_no_place() -> None:
    rows = [["표 1", "", ""], ["", "지역", "인원"], ["", "", "10"], ["", "서울", "20"]]
    assert table_text(rows) == "표 1\n지역 | 인원\n10\n서울 | 20"


def test_a_long_sheet_s_columns_keep_their_names_behind_a_margin() -> None:
    rows = [["", "name", "pay"], *[["", "Kim", "100"]] * 90]
    assert sheet_text(rows).split("\n\n")[0] == "name: Kim | pay: 100"


def test_what_a_merged_cell_says_holds_for_every_row_of_it() -> None:
    rows = [["북미", "임원", "long " * 20], [None, "사원", None], [None, None, ""], ["유럽", None]]
    assert [*fill_down(rows)] == [
        ["북미", "임원", "long " * 20],
        ["북미", "사원", ""],
        [],
        ["유럽", "사원"],
    ]


def test_cells_over_several_rows_and_columns() -> None:
    spans, rows = Spans(), []
    for cells in (
        [("지역", 1, 2), ("한도", 2, 1)],
        [("임원", 1, 1), ("사원", 1, 1)],
        [("북미", 1, 1)],
    ):
        spans.start_row()
        row = []
        for text, columns, reach in cells:
            row += [*spans.before(), text, *spans.add(text, columns, reach)]
        rows.append([*row, *spans.before()])
    assert rows == [["지역", "한도", ""], ["지역", "임원", "사원"], ["북미"]]


def test_a_merged_cell_is_not_repeated_without_end() -> None:
    spans, size = Spans(), 0
    for _ in range(10_000):
        spans.start_row()
        size += len("".join(spans.before()))
        spans.add("x" * 60, 1, 65_534)
    assert size < 2_000_000
