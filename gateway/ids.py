"""Random ids, drawn in blocks: the system is asked for randomness once for hundreds of them."""

import os
import re

_AT_ONCE = 256
_DIGITS = 32
_ids = re.compile(f".{{{_DIGITS}}}").findall
_drawn: list[str] = []
# A child that is forked would give out the same ones.
os.register_at_fork(after_in_child=_drawn.clear)


def new_id() -> str:
    """Return 32 hexadecimal digits that nobody can guess; they can be read as a UUID."""
    while True:
        try:
            return _drawn.pop()
        except IndexError:
            _drawn.extend(_ids(os.urandom(_AT_ONCE * _DIGITS // 2).hex()))
