"""The public names are the ones that were meant."""

import auth


def test_the_public_names_are_the_meant_ones() -> None:
    public = {name for name in vars(auth) if not name.startswith("_")}
    # `metadata` is left out: there the function hides its module.
    modules = {"client_auth", "clients", "errors", "form", "keys", "secrets", "server", "token"}
    assert public - modules - {"verify"} == set(auth.__all__)
    assert auth.__all__ == sorted(set(auth.__all__))
