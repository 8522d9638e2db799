"""Figures are shown in readable units, tables line up, JSON can be read back."""

from __future__ import annotations

import json
import sys

from benchmarks import report


def test_units():
    assert report.seconds(1.23456) == "1.235 s"
    assert report.seconds(0.0123) == "12.3 ms"
    assert report.gibibytes(3 * 2**29) == "1.50 GiB"
    assert report.gibibytes(3 * 2**20) == "3.0 MiB"
    assert report.ratio(1.0, 4.0) == "0.250"
    assert report.ratio(1.0, None) == report.ratio(None, 1.0) == "–"


def test_a_table_is_printed_with_figures_to_the_right(capsys):
    report.show("Times", ("what", "plain", "ratio"), [("a", "10.0 ms", "0.5"), ("bb", "9 s", "–")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "Times" in lines[0]
    first, second = (line for line in lines if line.endswith(("0.5", "–")))
    assert first.split() == ["a", "10.0", "ms", "0.5"]
    assert first.index("ms") + 1 == second.index(" s") + 1
    assert len(first) == len(second)


def test_json_has_the_command_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/speed.py", "--quick"])
    report.write(tmp_path / "a" / "b.json", {"rows": [1.5]})
    record = json.loads((tmp_path / "a" / "b.json").read_text())
    assert record == {"command": "python -m benchmarks.speed --quick", "rows": [1.5]}
