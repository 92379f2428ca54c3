import pytest

from gateway.request_ids import request_id


def _asked(*ids: bytes) -> str:
    scope = {"state": {}, "headers": [(b"host", b"a"), *((b"x-request-id", id_) for id_ in ids)]}
    given = request_id(scope)  # type: ignore[arg-type]
    assert request_id(scope) == given  # type: ignore[arg-type]
    return given


def test_of_several_ids_the_first_is_taken():
    assert _asked(b"a-1", b"b") == "a-1"


@pytest.mark.parametrize("ids", [(), (b"",), (b"a b",), (b"a" * 129, b"b")])
def test_an_id_of_ours_stands_in_for_none_or_a_harmful_one(ids: tuple[bytes, ...]):
    assert len(_asked(*ids)) == 32
