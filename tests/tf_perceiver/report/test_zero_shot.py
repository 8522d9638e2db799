"""The zero-shot report: what the page tells, that its pictures are drawn."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines.records import DatasetInfo, Shard, Split, pack_floats
from tf_perceiver.report import build, zero_shot
from tf_perceiver.tasks.zero_shot import ZeroShot

LABELS = ("ant", "bee", "cat", "dog")
INFO = DatasetInfo(
    "toy", {}, LABELS, {"val": Split("val", (Shard("a", 8, 1, "0"),))},
    properties={"word_vectors": pack_floats(np.eye(4)), "unseen": ["bee", "dog"]},
)  # fmt: skip
# Distances and truths: seen 3 of 4 right, unseen 1 of 3; with a bias of 0.5 two of three.
EXAMPLES = [
    ([1, 3, 3, 3], 0), ([1, 3, 3, 3], 0), ([3, 3, 1, 3], 2), ([1, 3, 3, 3], 2),
    ([3, 1, 3, 3], 1), ([1, 1.25, 3, 3], 1), ([3, 3, 1, 2], 3),
]  # fmt: skip


class Model(tf.Module):
    """Gives minus the distances that are its input."""

    trainable_variables = (np.zeros((3, 4)),)

    def __call__(self, inputs, training):
        assert "label" not in inputs
        return -inputs["audio"]


def write(folder, examples, shown=None, **fields):
    padding = [([0, 0, 0, 0], 3)] * 2
    distances, labels = zip(*examples, *padding, strict=True)
    batch = {
        "audio": np.float32(distances),
        "label": np.eye(4, dtype=np.float32)[list(labels)],
        "weight": np.float32([1] * len(examples) + [0] * 2),
    }
    data = {"modality": "clip_features", "eval_split": "val", "batch_size": 8}
    if shown is not None:
        batch["shown"] = shown
        cfg = {"frames": 4, "stride": 2, "fps": 8}
        data |= {"modality": "video", "video": cfg}
    config = {"name": "toy:tiny", "task": {"name": "zero_shot"}, "data": data}
    page = build.write_report(
        folder, model=Model(), task=ZeroShot(INFO, **fields), config=config, info=INFO,
        metrics_file=folder / "none.jsonl", eval_batches=iter([batch]), step=5,
    )  # fmt: skip
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.read_text()))


def test_the_page_tells_the_numbers_and_every_class(tmp_path):
    words = write(tmp_path, EXAMPLES, bias=0.0)
    # Seen: (2/2 + 1/2) / 2; unseen: (1/2 + 0/1) / 2.
    assert "37.50 % harmonic mean of seen and unseen on val, bias 0" in words
    assert "75.00 % of the seen classes, among all" in words
    assert "25.00 % of the unseen classes, among all" in words
    assert "100.00 % of the unseen classes, among the unseen" in words
    assert "7 examples, each counted once" in words
    assert "ant 100.00 % 2 cat 50.00 % 2" in words
    assert "bee 50.00 % 100.00 % 2 dog 0.00 % 100.00 % 1" in words
    assert "Of 4 examples of seen classes, 0 are taken for unseen ones" in words
    assert "of 3 examples of unseen classes, 2 are taken for seen ones" in words
    assert "given by the config" in words
    for name in ("stacking", "classes_seen", "classes_unseen"):
        picture = Image.open(io.BytesIO((tmp_path / f"{name}.png").read_bytes())).convert("L")
        assert picture.getextrema()[0] < 128 < picture.getextrema()[1], name


def test_a_bias_that_was_chosen_is_told(tmp_path):
    words = write(tmp_path, EXAMPLES, biases=(0.0, 0.5, 2))
    # Seen as before, unseen (2/2 + 0/1) / 2.
    assert "60.00 % harmonic mean of seen and unseen on val, bias 0.5" in words
    assert "chosen on this split" in words
    assert "of 3 examples of unseen classes, 1 are taken for seen ones" in words


def test_a_split_without_unseen_examples_says_so(tmp_path):
    words = write(tmp_path, EXAMPLES[:4])
    assert "Accuracy of the seen classes" in words
    assert "Accuracy of the unseen classes" not in words
    assert "none of the unseen classes, among the unseen" in words


def test_clips_are_shown_one_of_each_class(tmp_path, monkeypatch):
    drawn = []
    samples = zero_shot.pictures.samples
    monkeypatch.setattr(
        zero_shot.pictures, "samples", lambda chosen: drawn.extend(chosen) or samples(chosen)
    )
    frames = np.linspace(0, 1, 9, dtype=np.float32)[:, None, None, None, None]
    words = write(tmp_path, EXAMPLES, np.tile(frames, (1, 4, 8, 8, 3)), bias=0.5)
    assert "Clips of val. 4 of 4 frames from 1 s, line by line." in words
    assert [(one.truth, one.answer) for one in drawn] == [
        ("ant", "ant"), ("cat", "cat"), ("bee", "bee"), ("dog", "cat")
    ]  # fmt: skip
    np.testing.assert_allclose([one.array.mean() for one in drawn], np.array([0, 2, 4, 6]) / 8)
    expected = np.exp([-3.5, -3.0, -1.5, -2.0])  # Of the dog: seen classes under the bias.
    assert drawn[3].score == pytest.approx(expected[2] / expected.sum(), rel=1e-6)
    assert drawn[3].truth_score == pytest.approx(expected[3] / expected.sum(), rel=1e-6)
    assert (tmp_path / "samples.png").exists()
    assert "Clips of val" not in write(tmp_path / "features", EXAMPLES)


def test_a_split_without_examples_is_named(tmp_path):
    with pytest.raises(ValueError, match="split 'val' has no example to report on"):
        write(tmp_path, [])
