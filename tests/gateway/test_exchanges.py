import pytest

from gateway.exchanges import server_timing
from gateway.govern.charge import Exchange


@pytest.mark.parametrize(
    ("phases", "told"),
    [
        ({}, ""),
        ({"auth": 0.0012345}, "auth;dur=1.23"),
        ({"limits": 0.0, "upstream": 12.3456789}, "limits;dur=0.00, upstream;dur=12345.68"),
    ],
)
def test_phases_are_told_in_milliseconds_in_the_order_of_their_begin(
    phases: dict[str, float], told: str
):
    assert server_timing(Exchange(phases=phases)) == told
