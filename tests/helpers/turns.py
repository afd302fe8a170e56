"""Several pytest processes that share the tests among them, as `ci/pytest_jobs.py` starts them.

Each process collects all tests and then takes a few at a time of those that no other has taken: the
file that GPUGRAD_TEST_TURNS names holds how many are taken. So a test costs what it costs alone.
pytest-xdist sends five messages about each, which take twice the time of a small test.
"""

import hashlib
import os
from pathlib import Path

import pytest

TOGETHER = 20  # neighbours stay together: they share what they compute once


class Turns:
    """The tests that are not yet taken, by all processes that share a file."""

    def __init__(self, path, items):
        self.path = Path(path)
        self.items = items
        names = "\n".join(item.nodeid for item in items)
        self.digest = hashlib.sha256(names.encode()).hexdigest()

    def take(self, count):
        """The next ``count`` tests, fewer at the end. An error where others have other tests."""
        import fcntl

        with self.path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            digest, _, first = file.read().partition(" ")
            if digest not in ("", self.digest):
                raise pytest.UsageError("the processes that share the tests have collected others")
            start = int(first or 0)
            file.seek(0)
            file.write(f"{self.digest} {start + count}")
            file.truncate()
        return self.items[start : start + count]

    def __iter__(self):
        while some := self.take(TOGETHER):
            yield from some

    def end(self):
        """No process takes another test."""
        self.take(len(self.items))


def pytest_runtestloop(session):
    """pytest's own loop, over the tests that this process takes."""
    path = os.environ.pop("GPUGRAD_TEST_TURNS", None)  # not for what the tests start
    if path is None or session.config.option.collectonly or session.testsfailed:
        return None
    turns = Turns(path, session.items)
    items = iter(turns)
    item = next(items, None)
    while item is not None:
        following = next(items, None)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            turns.end()
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            turns.end()
            raise session.Interrupted(session.shouldstop)
        item = following
    return True
