"""The speed benchmark runs the real train step and says what it measured."""

from __future__ import annotations

import json


def test_images_are_timed(command):
    result = command("benchmarks.speed", "--config=configs/digits.py:tiny", "--seconds=0").check()
    row = json.loads(result.stdout.splitlines()[-1])
    assert (row["config"], row["batch_size"], row["replicas"]) == ("digits:tiny", 32, 1)
    assert row["parameters"] > 0
    assert row["forward_seconds"] > 0
    rate = row["batch_size"] / row["train_step_seconds"]
    assert abs(row["train_examples_per_second"] / rate - 1) < 0.01


def test_points_are_timed(command):
    arguments = ["--config=configs/modelnet40.py:tiny", "--seconds=0", "--classes=40"]
    row = json.loads(command("benchmarks.speed", *arguments).check().stdout.splitlines()[-1])
    assert row["config"] == "modelnet40:tiny"
    assert row["train_examples_per_second"] > 0


def test_a_missing_config_is_named(command):
    result = command("benchmarks.speed")
    assert result.returncode == 2
    assert "error: --config is missing" in result.stderr
