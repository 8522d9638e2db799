"""Verification finds every kind of damage."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from beam_preprocess import verify
from pipelines import records
from pipelines.records import DatasetInfo, Feature, Shard, Split

FEATURES = {"image": Feature("bytes"), "label": Feature("int64"), "key": Feature("bytes")}
NAME = "image_folder-train.tfrecord-00000-of-00001"


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def examples() -> list[dict]:
    return [{"image": png(n), "label": n % 2, "key": b"%d" % n} for n in range(6)]


def write(folder, content: list[dict], features=FEATURES, **changes) -> DatasetInfo:
    path = folder / NAME
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in content:
            writer.write(records.encode(example, features))
    data = path.read_bytes()
    shard = Shard(NAME, len(content), len(data), hashlib.sha256(data).hexdigest())
    size = {"min": 4, "max": 4, "mean": 4.0}
    info = DatasetInfo(
        **{
            "name": "image_folder",
            "features": FEATURES,
            "labels": ("a", "b"),
            "splits": {"train": Split("train", (shard,))},
            "statistics": {
                "train": {
                    "label_counts": {"a": 3, "b": 3},
                    "height": size,
                    "width": {"min": 6, "max": 6, "mean": 6.0},
                }
            },
            **changes,
        }
    )
    info.write(str(folder))
    return info


def found(folder, info: DatasetInfo) -> list[str]:
    return list(verify.problems(str(folder), info))


def test_an_intact_dataset_has_no_problems(tmp_path, capsys):
    assert found(tmp_path, write(tmp_path, examples())) == []
    assert verify.main([str(tmp_path)]) == 0
    assert "train 6 records in 1 shards; all agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "bytes, dataset.json says"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "SHA-256 is another"),
    ],
)
def test_damaged_files(tmp_path, damage, message, capsys):
    info = write(tmp_path, examples())
    damage(tmp_path / NAME)
    [problem] = found(tmp_path, info)
    assert problem.startswith(NAME)
    assert message in problem
    assert verify.main([str(tmp_path)]) == 2
    assert "1 problems; write it again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": b"0"}, r"record 5 \(0\): its key occurs twice"),
        ({"label": 2}, r"record 5 \(5\): label 2 of 2 classes"),
        ({"image": png(5)[:-6]}, r"corrupt-image: record 5 \(5\)"),
        ({"image": b""}, r"empty-file: record 5 \(5\)"),
    ],
)
def test_bad_records(tmp_path, change, message):
    content = examples()
    content[5] |= change
    problems = found(tmp_path, write(tmp_path, content))
    assert len(problems) == 1
    assert re.search(message, problems[0])


def test_an_image_that_training_could_not_decode(tmp_path):
    buffer = io.BytesIO()
    Image.new("CMYK", (6, 4)).save(buffer, "JPEG")
    content = examples()
    content[5]["image"] = buffer.getvalue()
    [problem] = found(tmp_path, write(tmp_path, content))
    assert "neither JPEG nor PNG of 1 or 3 colours" in problem


def test_fields_other_than_declared(tmp_path):
    features = {**FEATURES, "label": Feature("float32")}
    content = [{**example, "label": np.float32(1)} for example in examples()]
    [problem] = found(tmp_path, write(tmp_path, content, features))
    assert "record 0: " in problem
    assert "label" in problem


def test_counts_statistics_rejects_and_strangers(tmp_path):
    info = write(tmp_path, examples())
    split = info.splits["train"]
    fewer = dataclasses.replace(split.shards[0], records=5)
    info = dataclasses.replace(info, splits={"train": Split("train", (fewer,))})
    assert found(tmp_path, info) == [f"{NAME}: has 6 records, dataset.json says 5"]
    info = write(tmp_path, examples()[:5])
    assert found(tmp_path, info) == ["statistics of train differ from its records"]
    info = write(tmp_path, examples(), rejects={"empty-file": 2})
    assert found(tmp_path, info) == ["rejects.jsonl: lists {}, dataset.json {'empty-file': 2}"]
    info = write(tmp_path, examples())
    stray = tmp_path / "image_folder-train.tfrecord-00000-of-00002"
    stray.touch()
    assert found(tmp_path, info) == [f"{stray.name}: a shard that dataset.json does not list"]


def test_bad_folders_end_in_one_line(tmp_path, capsys):
    assert verify.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}: not a finished dataset")
    assert len(error.splitlines()) == 1
