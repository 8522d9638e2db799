"""A worker runs what it is asked for and says how long it took and how high memory went."""

from __future__ import annotations

import sys
import textwrap

import pytest

from benchmarks import worker

SIZE = 64 * 2**20
MODULE = f"""
    import sys, time
    from benchmarks import worker

    kept = []

    def build():
        print("noise of a library")
        calls = {{
            "sleep": lambda: time.sleep(0.05),
            "grow": lambda: kept.append(b"x" * {SIZE}),
        }}
        return calls, {{"said": sys.argv[1]}}

    worker.serve(build)
"""


@pytest.fixture
def module(tmp_path):
    """A worker's module, importable by name in the environment that goes with it."""
    (tmp_path / "a_worker.py").write_text(textwrap.dedent(MODULE))
    return {"PYTHONPATH": f"{tmp_path}:{worker.ROOT}"}


def test_a_worker_answers(module):
    with worker.Worker(sys.executable, "a_worker", ["hello"], module) as asked:
        assert asked.facts["said"] == "hello"
        assert asked.facts["baseline_bytes"] > 2**20
        slept = asked.run("sleep")
        grown = asked.run("grow")
    assert slept["seconds"] >= 0.05
    assert grown["peak_bytes"] - slept["peak_bytes"] == pytest.approx(SIZE, rel=0.25)


def test_a_worker_that_fails_is_named(module, capfd):
    with (
        pytest.raises(ValueError, match="a_worker x ended with 1; what it said is above"),
        worker.Worker(sys.executable, "a_worker", ["x"], module) as asked,
    ):
        asked.run("no such call")
    assert "KeyError: 'no such call'" in capfd.readouterr().err
