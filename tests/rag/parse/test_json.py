"""JSON as lines that name what they say."""

import pytest

from rag.errors import UnreadableDocument
from rag.parse.document import parse


def read(data: str, name: str = "a.json") -> str:
    (page,) = parse(name, data.encode())
    return page.text


def test_a_line_names_the_path_to_its_value() -> None:
    data = '{"회사": {"이름": "나루", "설립": 1e3, "상장": false, "모회사": null}, "층": [1, 2.50]}'
    assert read(data) == (
        "회사.이름: 나루\n회사.설립: 1e3\n회사.상장: false\n층[0]: 1\n층[1]: 2.50"
    )


def test_members_of_a_list_are_paragraphs() -> None:
    assert read('{"people": [{"name": "Kim"}, {"name": "Lee", "pay": 2}]}') == (
        "people[0].name: Kim\n\npeople[1].name: Lee\npeople[1].pay: 2"
    )
    assert read('[{"name": "Kim"}, {"name": "Lee"}]') == "name: Kim\n\nname: Lee"


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json"])
def test_a_document_in_every_line(name: str) -> None:
    assert read('{"name": "Kim"}\n\n{"name": "Lee"}\n', name) == "name: Kim\n\nname: Lee"


def test_what_is_no_json_is_read_as_text() -> None:
    assert read("// settings\n{a: 1,}") == "// settings\n{a: 1,}"


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_one_that_is_too_deep_is_refused(opening: str) -> None:
    with pytest.raises(UnreadableDocument, match="nested too deeply"):
        parse("a.json", (opening * 100_000).encode())


def test_a_long_name_above_many_values_does_not_grow() -> None:
    data = '{"' + "x" * 100_000 + '": [' + ",".join("1" * 10_000) + "]}"
    assert len(read(data)) < 3_000_000
