"""The survival report: Kaplan-Meier by hand, what the page tells, that its pictures are drawn."""

from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines.records import DatasetInfo, Feature, Shard, Split
from tf_perceiver.report import build, survival
from tf_perceiver.report.run import Run
from tf_perceiver.tasks.survival import Survival

EVENTS, CENSORED = np.zeros(40), np.zeros(40)
EVENTS[[3, 8, 12, 20, 25, 30]] = 1
CENSORED[[10, 39]] = 2
INFO = DatasetInfo(
    "toy", {}, (), {"test": Split("test", (Shard("a", 8, 1, "0"),))},
    properties={"groups": {"kinases": ["A"], "others": ["B"]}},
    statistics={"train": {"totals": {"events": EVENTS.tolist(), "censored": CENSORED.tolist()}}},
)  # fmt: skip


class Model(tf.Module):
    """Gives the risk that is its input."""

    trainable_variables = (np.zeros((3, 4)),)

    def __call__(self, batch, training):
        return batch["omics"][:, :1]

    def first_cross_attention(self, batch):
        return np.tile(np.float32([0.9, 0.1]), (len(batch["omics"]), 1, 3, 1))


def batches(risks, times, events, padding=2):
    def padded(values):
        return np.append(values, np.zeros(padding)).astype(np.float32)

    return [
        {
            "omics": padded(risks)[:, None],
            "time": padded(times),
            "event": padded(events),
            "weight": padded(np.ones(len(risks))),
        }
    ]


def write(folder, *rows):
    config = {
        "name": "toy:tiny",
        "task": {"name": "survival"},
        "data": {"modality": "omics", "eval_split": "test", "batch_size": 8},
    }
    page = build.write_report(
        folder, model=Model(), task=Survival(INFO, likelihood="cox"), config=config, info=INFO,
        metrics_file=folder / "none.jsonl", eval_batches=iter(batches(*rows)), step=5,
    )  # fmt: skip
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.read_text()))


def test_kaplan_meier_by_hand():
    time, event = np.array([6, 6, 6, 7, 10, 10]), np.array([1, 1, 0, 1, 0, 1])
    steps, alive = survival.kaplan_meier(time, event)
    assert steps.tolist() == [0, 6, 7, 10]
    np.testing.assert_allclose(alive, [1, 4 / 6, 4 / 6 * 2 / 3, 4 / 6 * 2 / 3 / 2])
    assert survival.kaplan_meier(np.array([3.0]), np.array([0]))[1].tolist() == [1]


def test_the_page_tells_the_numbers_and_shows_the_curves(tmp_path):
    words = write(tmp_path, [3, 2, 1, 0, -1], [1, 5, 9, 30, 33], [1, 1, 0, 1, 0])
    assert "1.000 concordance index on test" in words
    assert "3 deaths seen in test" in words
    assert "5 patients, each counted once" in words
    for name in ("survival_halves", "survival_patients", "attention"):
        picture = Image.open(io.BytesIO((tmp_path / f"{name}.png").read_bytes())).convert("L")
        assert picture.getextrema()[0] < 128 < picture.getextrema()[1], name


def test_attention_to_patches_is_told_behind_that_to_groups(monkeypatch):
    info = dataclasses.replace(INFO, features={"patches": Feature("float32", (None,))})
    told = {}
    monkeypatch.setattr(survival.style, "plain", lambda name: told.setdefault(name, name))
    survival.groups(Run(None, None, {}, info, [], 5), np.array([0.5, 0.3, 0.1, 0.1]))
    assert list(told) == ["a patch of a slide", "others", "kinases"]


def test_equal_risks_leave_one_half_empty_and_nothing_breaks(tmp_path):
    assert "0.500 concordance" in write(tmp_path, [1, 1, 1], [1, 5, 9], [1, 1, 0])
    assert "concordance" not in write(tmp_path, [1, 2], [5, 5], [0, 0])


def test_a_split_without_patients_is_named(tmp_path):
    with pytest.raises(ValueError, match="split 'test' has no example to report on"):
        write(tmp_path, [], [], [])
