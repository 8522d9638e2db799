"""Growth is judged from large inputs on, and measured on pictures of the sizes that were asked."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import growth, growth_plot, subjects


def row(inputs, seconds, peak, attention="structured"):
    return {
        "inputs": inputs,
        "attention": attention,
        "seconds": seconds,
        "peak_bytes": peak,
        "batch_bytes": 12 * inputs,
    }


ROWS = [
    row(1_000, 9.0, 10**6),
    row(10_000, 1.0, 10**6),
    row(10_000, 5.0, 10**9, "plain"),
    row(40_000, 6.0, 10**6 + 22 * 30_000),
]


def test_growth_is_judged_between_large_inputs_of_the_structured_path():
    found = growth.summary(ROWS)
    assert found == {
        "inputs_ratio": 4.0,
        "time_ratio": 6.0,
        "time_per_input_ratio": 1.5,
        "bytes_per_input": 22.0,
        "bytes_per_input_beyond": 10.0,
    }
    assert growth.summary(ROWS[:3]) == {}


def test_the_pictures_have_as_many_pixels_as_asked_and_the_same_weights():
    small = growth.subject_of(8, "structured", small=True)
    large = growth.subject_of(16, "structured", small=True)
    assert small.batch["image"].shape == (1, 8, 8, 3)
    assert large.batch["image"].shape == (1, 16, 16, 3)
    assert small.parameters == large.parameters
    # All but the queries' side is proportional to the inputs.
    assert 3 < large.flops / small.flops < 4


def test_plain_needs_about_what_is_thought():
    assert growth.plain_bytes(2 * 10**5) == pytest.approx(2 * growth.plain_bytes(10**5))
    assert 512 * 50_176 * 4 < growth.plain_bytes(50_176) < 2**31


def test_time_and_memory_are_measured(command, tmp_path):
    output = tmp_path / "growth.json"
    arguments = ["--quick", "--side=8,12", f"--output={output}"]
    result = command("benchmarks.growth", *arguments, timeout=300)
    result.check()
    rows = json.loads(output.read_text())["rows"]
    assert [(it["inputs"], it["attention"]) for it in rows] == [
        (n, path) for n in (64, 144) for path in subjects.ATTENTIONS
    ]
    for it in rows:
        assert it["seconds"] > 0
        assert it["peak_bytes"] > 0
        assert it["batch_bytes"] == 4 * (3 * it["inputs"] + 2)
    assert " 144 " in result.stdout
    assert output.with_suffix(".png").stat().st_size > 10_000


def test_the_picture_has_both_paths_and_what_they_are_held_against():
    left, right = growth_plot.figure(ROWS).axes
    plain, structured, proportional = (line.get_ydata() for line in left.lines)
    assert (list(plain), list(structured)) == ([5.0], [9.0, 1.0, 6.0])
    np.testing.assert_allclose(proportional, [0.15, 1.5, 6.0])
    np.testing.assert_allclose(right.lines[2].get_ydata()[-1], 12 * 40_000 / 2**20)


def test_a_side_that_is_no_number_is_named(command):
    result = command("benchmarks.growth", "--side=8,big")
    assert result.returncode == 2
    assert "error: --side=8,big is no list of numbers" in result.stderr
