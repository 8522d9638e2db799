"""The linear model beside the Perceiver: what it is given, and what it finds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import linear


def split(rng: np.random.Generator, count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two classes that the one modality tells apart, 1000 times smaller than the other's noise."""
    labels = np.arange(count) % 2
    seen = 1e-3 * (rng.normal(size=(count, 6)) + 6 * labels[:, None])
    return {"audio": rng.normal(size=(count, 4)), "image": seen}, labels


def test_the_small_modality_counts_too():
    rng = np.random.default_rng(0)
    score, strength = linear.accuracy(split(rng, 80), split(rng, 40), components=3)
    assert score == 1.0
    assert strength in linear.STRENGTHS


def test_what_has_nothing_in_it_is_guessed():
    rng = np.random.default_rng(0)
    train, test = ({"image": rng.normal(size=(n, 5))} for n in (80, 400))
    labels = [np.arange(n) % 2 for n in (80, 400)]
    score, _ = linear.accuracy((train, labels[0]), (test, labels[1]), components=9)
    assert 0.4 < score < 0.6


def test_it_learns_from_records(command, tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 5)):
        for name, brightness in (("dark", 60), ("light", 190)):
            folder = tmp_path / "raw" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(brightness - 50, brightness + 50, (8, 8)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    data = tmp_path / "data"
    command(
        "beam_preprocess.run", "--dataset=image_folder", f"--input={tmp_path}/raw",
        f"--output={data}", "--shards=2",
    ).check()  # fmt: skip
    asked = ("benchmarks.linear", "--config=configs/digits.py:tiny")
    answer = json.loads(command(*asked, f"--data={data}", "--components=4").check().stdout)
    assert answer.pop("strength") in linear.STRENGTHS
    assert answer == {
        "config": "digits:tiny", "inputs": ["image"], "split": "test", "examples": 10,
        "accuracy": 1.0,
    }  # fmt: skip
    result = command(*asked)
    assert (result.returncode, result.stderr.strip()) == (2, "error: --data is missing; see --help")


def test_what_has_no_labels_is_named(monkeypatch, tmp_path):
    from pipelines import input_pipeline
    from pipelines.records import DatasetInfo

    class Stream:
        def as_numpy_iterator(self):
            return iter([{"image": np.zeros((1, 2)), "weight": np.ones(1)}])

    monkeypatch.setattr(input_pipeline, "eval_stream", lambda *a, **k: Stream())
    info = DatasetInfo("pairs", {}, (), {})
    data = type("Data", (), {"eval_batch_size": 1})
    with pytest.raises(ValueError, match="pairs has no labels to be told from each other"):
        linear.examples(info, str(tmp_path), data, "test")
