"""The memory benchmark measures each model in a process of its own."""

from __future__ import annotations

import json

import numpy as np

from benchmarks import memory, memory_plot, report, subjects


def test_both_paths_are_measured(command, tmp_path):
    output = tmp_path / "memory.json"
    arguments = ["--quick", "--preset=io_imagenet_fourier", "--batch=2"]
    result = command("benchmarks.memory", *arguments, f"--output={output}", timeout=300).check()
    rows = json.loads(output.read_text())["rows"]
    assert [row["attention"] for row in rows] == ["plain", "structured"]
    for row in rows:
        assert row["title"] == "io_imagenet_fourier, train step, batch 2"
        assert row["batch_bytes"] == 4 * 2 * (16 * 16 * 3 + 1000)
        # Variables, gradients and LAMB's two moments, at the least.
        assert row["peak_bytes"] > 4 * row["parameter_bytes"] > 0
        assert row["baseline_bytes"] > 2**26
    ratio = report.ratio(rows[1]["peak_bytes"], rows[0]["peak_bytes"])
    assert f" {ratio} " in result.stdout
    assert output.with_suffix(".png").stat().st_size > 10_000


def test_the_default_has_the_claims():
    titles = {(spec.title, spec.attention) for spec in memory.DEFAULT}
    for path in subjects.ATTENTIONS:
        assert ("imagenet, train step", path) in titles
        assert ("io_flow, forward", path) in titles
    assert ("imagenet, train step, batch 8, recomputing", "structured") in titles


def test_the_picture_has_a_bar_for_each():
    rows = [
        {"title": "a", "attention": "plain", "peak_bytes": 2**30},
        {"title": "a", "attention": "structured", "peak_bytes": 2**28},
        {"title": "b", "attention": "structured", "peak_bytes": 2**29},
    ]
    (axes,) = memory_plot.figure(rows).axes
    widths = [bar.get_width() for bar in axes.patches if bar.get_width() > 0]
    np.testing.assert_allclose(widths, [1.0, 0.25, 0.5])
    assert [text.get_text() for text in axes.texts] == ["1.00 GiB", "0.25 GiB", "0.50 GiB"]


def test_an_unknown_measure_is_named(command):
    result = command("benchmarks.memory", "--preset=imagenet", "--measure=step")
    assert result.returncode == 2
    assert "error: --measure=step is none of forward, forward_backward, train_step" in result.stderr


def test_a_mistake_in_a_child_is_one_line(command):
    result = command("benchmarks.memory", "--preset=imagenot")
    assert result.returncode == 2
    assert "error: no preset 'imagenot'" in result.stderr
    assert "Traceback" not in result.stderr
