"""Writes `docs/reference/` from the code that it describes: `make reference`."""
