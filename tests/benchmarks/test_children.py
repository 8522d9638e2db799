"""Results, mistakes and deaths come back from a child."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from benchmarks import children


def test_a_child_is_another_process_and_its_result_comes_back():
    pid, total = children.run(lambda a, b: (os.getpid(), a + b), 2, 3)
    assert pid != os.getpid()
    assert total == 5


def test_a_fresh_child_is_no_fork():
    os.environ["SET_BEFORE"], sys.modules["of_the_parent"] = "1", sys
    try:
        assert children.run(sees, "of_the_parent") == ("1", True)
        assert children.run(sees, "of_the_parent", fresh=True) == ("1", False)
    finally:
        del os.environ["SET_BEFORE"], sys.modules["of_the_parent"]


def sees(module):
    return os.environ.get("SET_BEFORE"), module in sys.modules


def fail(error):
    raise error


def test_a_mistake_keeps_its_message():
    with pytest.raises(ValueError, match="^no preset 'x'$"):
        children.run(fail, ValueError("no preset 'x'"))


def test_a_bug_keeps_its_traceback():
    with pytest.raises(RuntimeError, match=r"(?s)test_children.*KeyError: 'lost'"):
        children.run(fail, KeyError("lost"))


def test_a_killed_child_is_told():
    with pytest.raises(MemoryError, match="ended with -9"):
        children.run(lambda: os.kill(os.getpid(), signal.SIGKILL))
