"""The public names are the ones that were meant."""

from types import ModuleType

import auth


def test_the_public_names_are_the_meant_ones() -> None:
    public = {name for name in vars(auth) if not name.startswith("_")}
    public -= {name for name in public if isinstance(getattr(auth, name), ModuleType)}
    assert public == set(auth.__all__)
    assert auth.__all__ == sorted(set(auth.__all__))
