"""The speed benchmark runs the real models and says what it measured."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from benchmarks import speed, speed_plot


def row(attention, seconds, measure="forward", name="imagenet", share=0.5):
    return {
        "name": name,
        "attention": attention,
        "measure": measure,
        "seconds": seconds,
        "share_of_matmul": share,
    }


def test_presets_and_parts_are_timed_by_both_paths(command, tmp_path):
    output = tmp_path / "out" / "speed.json"
    arguments = ["--quick", "--preset=imagenet", "--part=whole,latent", "--batch=2"]
    result = command("benchmarks.speed", *arguments, f"--output={output}", timeout=300).check()
    record = json.loads(output.read_text())
    seen = {(row["name"], row["attention"], row["measure"]) for row in record["rows"]}
    measures = ("forward", "forward_backward", "train_step")
    expected = {("imagenet", a, m) for a in ("plain", "structured") for m in measures}
    assert seen == expected | {("latent transformer", None, m) for m in measures[:2]}
    for row in record["rows"]:
        passes = 1 if row["measure"] == "forward" else 3
        assert row["batch_size"] == 2
        assert row["useful_flops"] % (2 * passes) == 0
        assert row["examples_per_second"] == pytest.approx(2 / row["seconds"])
        assert row["flops_per_second"] == pytest.approx(row["useful_flops"] / row["seconds"])
        best = max(row["matmul_flops_per_second"].values())
        assert row["share_of_matmul"] == pytest.approx(row["flops_per_second"] / best)
        assert row["seconds"] in row["times"]
    assert record["command"].startswith("python -m benchmarks.speed --quick --preset=imagenet")
    assert record["machine"]["tensorflow"] == "2.15.1"
    lines = [line for line in result.stdout.splitlines() if "imagenet" in line]
    assert [line.split()[1] for line in lines] == ["forward", "forward", "train"]
    assert "latent transformer" in result.stdout
    with Image.open(output.with_suffix(".png")) as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(2**24)) > 10


def test_paths_are_paired_by_name_and_measure():
    rows = [
        row("plain", 4.0),
        row("plain", 9.0, "train_step"),
        row("structured", 1.0),
        row("structured", 3.0, "train_step"),
        row(None, 7.0, name="latent transformer"),
        row("plain", 5.0, name="io_flow"),
    ]
    found = [(plain and plain["seconds"], it["seconds"]) for plain, it in speed.pairs(rows)]
    assert found == [(4.0, 1.0), (9.0, 3.0), (None, 7.0), (None, 5.0)]


def test_the_picture_says_the_ratio():
    both = row("plain", 4.0, share=0.4), row("structured", 1.0, share=1.6)
    pairs = [both, (None, row(None, 7.0))]
    left, right = speed_plot.figure(pairs).axes
    texts = [text.get_text() for text in left.texts]
    assert texts == ["0.25   4.000 s → 1.000 s", "7.000 s"]
    assert max(line.get_xdata()[-1] for line in right.lines if len(line.get_xdata())) == 1.6


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--part=decoder", "--part=decoder is none of whole, cross_attend, latent, flow_decoder"),
        ("--attention=folded", "--attention=folded is none of plain, structured"),
        ("--measure=backward", "--measure=backward is none of forward, forward_backward"),
        ("--preset=imagenot", "no preset 'imagenot'; there are imagenet,"),
    ],
)
def test_what_does_not_exist_is_named(command, flag, message):
    result = command("benchmarks.speed", "--quick", flag)
    assert result.returncode == 2
    assert f"error: {message}" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_experiment_on_images_is_timed(command):
    result = command("benchmarks.speed", "--config=configs/digits.py:tiny", "--quick").check()
    row = json.loads(result.stdout.splitlines()[-1])
    assert (row["config"], row["batch_size"], row["replicas"]) == ("digits:tiny", 32, 1)
    assert row["parameters"] > 0
    assert row["forward_seconds"] > 0
    rate = row["batch_size"] / row["train_step_seconds"]
    assert abs(row["train_examples_per_second"] / rate - 1) < 0.01


@pytest.mark.parametrize("name", ["modelnet40", "kinetics", "tcga_brca"])
def test_an_experiment_on_something_else_is_timed(command, name):
    arguments = [f"--config=configs/{name}.py:tiny", "--quick", "--classes=40"]
    row = json.loads(command("benchmarks.speed", *arguments).check().stdout.splitlines()[-1])
    assert row["config"] == f"{name}:tiny"
    assert row["train_examples_per_second"] > 0
