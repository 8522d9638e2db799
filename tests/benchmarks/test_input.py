"""The input benchmark tells the stages apart, by the config's own pipeline and model."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks import input as input_benchmark
from benchmarks import pictures
from configs import imagenet
from pipelines import records


def test_every_stage_of_a_config_is_timed_on_pictures_of_its_own(command, tmp_path):
    output = tmp_path / "out" / "input.json"
    arguments = ["--config=configs/imagenet.py:tiny", "--quick", f"--output={output}"]
    result = command("benchmarks.input", *arguments).check()
    record = json.loads(output.read_text())
    assert list(record["rates"]) == list(input_benchmark.STAGES)
    medians = record["examples_per_second"]
    assert {name: turns[0] for name, turns in record["rates"].items()} == medians
    assert min(medians.values()) > 0
    assert medians["read"] > medians["read_decode"]
    assert (record["config"], record["batch_size"]) == ("imagenet:tiny", 8)
    assert abs(record["picture_bytes"] / pictures.BYTES - 1) < 0.05
    skip = record["skip"]
    assert skip["examples"] == 1000 < skip["records"] == 16 * 64
    assert 0 < skip["seconds"] < 60
    bottleneck = "input" if medians["pipeline"] < medians["train_step"] else "model"
    assert f"The {bottleneck} is the bottleneck" in result.stdout
    share = f"{medians['read_decode'] / medians['decode']:.0%}"
    assert share in result.stdout
    busy = record["processor_seconds"]
    assert busy["read"] < busy["decode"] < 2 * busy["read_decode"]
    assert f"{busy['decode'] / busy['read_decode']:.0%}" in result.stdout
    # Of one process, which can't have been busier than all processors.
    assert busy["decode"] * medians["decode"] < 1.2 * os.cpu_count()
    assert "after 1,000 examples, of 1,024 an epoch," in result.stdout
    assert record["command"].startswith("python -m benchmarks.input --config=")


def test_records_without_pictures_are_read_prepared_and_learned(command, tmp_path):
    features = {
        "points": records.Feature("float32", (None, 3)),
        "label": records.Feature("int64"),
    }
    name = records.shard_name("clouds", "train", 0, 1)
    cloud = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
        for number in range(20):
            writer.write(records.encode({"points": cloud, "label": number % 3}, features))
    shard = records.Shard(name, 20, (tmp_path / name).stat().st_size, "")
    splits = {"train": records.Split("train", (shard,))}
    records.DatasetInfo("clouds", features, tuple("abc"), splits).write(str(tmp_path))
    output = tmp_path / "input.json"
    arguments = ["--config=configs/modelnet40.py:tiny", f"--data={tmp_path}", "--quick"]
    result = command("benchmarks.input", *arguments, f"--output={output}").check()
    record = json.loads(output.read_text())
    assert set(record["rates"]) == {"read", "pipeline", "train_step"}
    assert record["skip"]["records"] == 20
    assert "picture_bytes" not in record
    assert "decoded" not in result.stdout


def test_without_records_only_pictures_can_be_measured(command):
    result = command("benchmarks.input", "--config=configs/modelnet40.py:tiny", "--quick")
    assert result.returncode == 2
    assert "error: --data is missing: modelnet40:tiny learns from points" in result.stderr


@pytest.mark.parametrize(
    ("pipeline", "train_step", "said"),
    [
        (400.0, 1000.0, "The input is the bottleneck: it takes 400 examples/s, the model could "),
        (3000.0, 1000.0, "The model is the bottleneck: it takes 1,000 examples/s, the input could"),
    ],
)
def test_the_slower_one_is_the_bottleneck(pipeline, train_step, said):
    line = input_benchmark.verdict(pipeline, train_step)
    assert line.startswith(said)
    assert line.endswith("(2.5 times as many)." if pipeline == 400 else "(3.0 times as many).")


def test_links_are_read_as_shards(tmp_path):
    made = pictures.Dataset(tmp_path, records=6, pictures=2)
    info = made.of(5)
    assert info.split("train").records == 30
    config = imagenet.get_config("tiny")
    config.data.shuffle_buffer = 1
    batch = next(iter(input_benchmark.streams(config, info, str(tmp_path))["pipeline"]))
    assert batch["image"].shape == (8, 32, 32, 3)
    np.testing.assert_array_equal(tf.argmax(batch["label"], -1), [0] * 5 + [1] * 3)


def test_pictures_differ_and_have_the_size_that_is_asked_for():
    first, second = (pictures.jpeg(seed, (200, 160), 10_000) for seed in (1, 2))
    assert first != second
    assert first == pictures.jpeg(1, (200, 160), 10_000)
    for file in (first, second):
        assert abs(len(file) / 10_000 - 1) < 0.1
        assert Image.open(io.BytesIO(file)).size == (200, 160)
