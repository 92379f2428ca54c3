"""What is said of counted bytecodes."""

from bytecodes import ROOT, table


def test_functions_are_told_by_what_they_execute_for_each_request() -> None:
    rows = [
        (f"{ROOT}/gateway/http.py", 55, "BoundedProtocol.on_headers_complete", 4, 120),
        (f"{ROOT}/gateway/bare.py", 20, "answer", 8, 400),
        ("/somewhere/site-packages/uvicorn/x.py", 7, "run", 2, 80),
    ]
    first, *others = [line.split() for line in table(rows, 2)]
    assert first == ["150", "bytecodes", "and", "4", "calls", "each", "request"]
    assert others == [
        ["100.0", "2.00", "gateway/bare.py:20", "answer"],
        ["30.0", "1.00", "gateway/http.py:55", "BoundedProtocol.on_headers_complete"],
    ]
