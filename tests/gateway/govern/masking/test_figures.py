import pytest
from masking_figures import measured


@pytest.mark.parametrize(("name", "least", "cases"), [("cases", 0.98, 60), ("held_out", 0.93, 15)])
def test_nearly_all_is_found_and_hardly_anything_else(name: str, least: float, cases: int) -> None:
    for kind, figures in measured(name).items():
        assert figures.precision >= least, kind
        assert figures.recall >= least, kind
        assert figures.right + figures.missed >= cases, kind
        assert figures.near_misses >= cases, kind
