"""The comparison: turns, medians and ratios, with workers that answer without computing anything.

That the other implementations run is shown by `make bench-peers --quick` alone: their packages are
in an environment of their own, which takes minutes to install.
"""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import ours, peers, worker


class Fake:
    """A worker with answers by name of the module; it keeps the order of all turns.

    Of memory it has kept what other calls before took.
    """

    turns: list[tuple[str, str]] = []
    seconds = {
        "benchmarks.ours": {
            "forward": [9, 1, 3],
            "forward_backward": [9, 4, 4],
            "train_step": [9, 5, 5],
        },
        "benchmarks.theirs": {"forward": [9, 4, 4], "forward_backward": [9, 16, 16]},
    }

    def __init__(self, python, module, arguments, environment=None):
        self.module, self.asked = module, json.loads(arguments[0])
        self.answers = {call: iter(times) for call, times in self.seconds[module].items()}
        self.facts = {"parameters": 7, "version": "1"}
        self.held = {"benchmarks.ours": 10, "benchmarks.theirs": 40}[module]

    def run(self, call):
        self.turns.append((self.module, call))
        seconds = next(self.answers[call])
        self.held += seconds
        return {"seconds": seconds, "peak_bytes": self.held}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def row(monkeypatch):
    """A comparison of two rounds by `Fake`."""
    monkeypatch.setattr(peers, "Worker", Fake)
    monkeypatch.setattr(peers, "PAUSE_SECONDS", 0)
    Fake.turns = []
    return peers.compare("transformers", "float32", "python", peers.Options(rounds=2))


def test_both_sides_take_turns_and_ratios_are_ours_over_theirs(row):
    assert row["preset"] == "io_imagenet_fourier"
    assert row["ours"]["forward"]["seconds"] == 2  # The first isn't counted.
    assert row["ratios"]["forward"] == {"seconds": 0.5, "peak_bytes": 23 / 57}
    assert row["ratios"]["forward_backward"] == {"seconds": 0.25, "peak_bytes": 27 / 81}
    assert row["ours"]["train_step"]["seconds"] == 5
    assert "train_step" not in row["theirs"]
    order = [module.removeprefix("benchmarks.") for module, call in Fake.turns if call == "forward"]
    assert order[:6] == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert order[6:] == 3 * ["ours"] + 3 * ["theirs"]  # For memory, one after the other.


def test_the_table_has_the_ratios(row, capsys):
    peers.show([row], peers.Options())
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines() if "io_imagenet_fourier" in line]
    assert lines[0][:5] == ["io_imagenet_fourier", "transformers", "float32", "forward", "2.000"]
    assert "0.500" in lines[0]
    assert "0.250" in lines[1]
    assert "our step, with LAMB" in out


def test_our_worker_runs_the_preset():
    asked = json.dumps({"preset": "imagenet", "precision": "mixed", "threads": 1, "small": True})
    with worker.Worker(sys.executable, ours.__name__, [asked]) as ours_:
        assert ours_.facts["version"] == "tensorflow 2.15.1"
        assert ours_.facts["parameters"] > 1000
        answers = [ours_.run(call) for call in ("forward", "forward_backward", "train_step")]
    assert all(answer["seconds"] > 0 for answer in answers)
    assert all(answer["peak_bytes"] > 0 for answer in answers)


def test_an_environment_is_installed_once(monkeypatch, tmp_path):
    asked = []

    class Done:
        returncode = 0

    def run(command, check):
        asked.append(command)
        return Done

    monkeypatch.setattr(peers.venv, "create", lambda folder, **_: folder.mkdir(exist_ok=True))
    monkeypatch.setattr(peers.subprocess, "run", run)
    python = peers.environment(tmp_path / "venv")
    assert python == str(tmp_path / "venv" / "bin" / "python")
    assert peers.environment(tmp_path / "venv") == python
    assert len(asked) == 1
    assert asked[0][:4] == [python, "-m", "pip", "install"]
    (tmp_path / "venv" / "installed.txt").write_text("others")
    Done.returncode = 1
    with pytest.raises(ValueError, match="requirements-peers.txt can't be installed"):
        peers.environment(tmp_path / "venv")


def test_an_unknown_model_is_named(command):
    result = command("benchmarks.peers", "--model=perceiver")
    assert result.returncode == 2
    assert "error: --model=perceiver is none of transformers, perceiver-pytorch" in result.stderr
