import os
import re
import uuid

from gateway.ids import new_id


def test_no_id_is_given_twice() -> None:
    ids = [new_id() for _ in range(2000)]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", id_) for id_ in ids)
    assert uuid.UUID(ids[0]).hex == ids[0]


def test_a_forked_child_gives_others() -> None:
    new_id()
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(theirs, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(ours, 32).decode() != new_id()
    os.close(ours)
    os.close(theirs)
