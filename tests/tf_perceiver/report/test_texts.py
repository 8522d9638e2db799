"""Reports on texts: hidden words and how they were answered, labels and scores of sentences."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest
import tensorflow as tf

from pipelines.records import DatasetInfo, Shard, Split
from tf_perceiver import tasks
from tf_perceiver.report import build, masked_lm
from tf_perceiver.report.page import Passage, Section, render


def info(*labels: str) -> DatasetInfo:
    shard = Shard("texts-test.tfrecord-00000-of-00001", 4, 1, "0")
    return DatasetInfo("texts", {}, labels, {"test": Split("test", (shard,))})


def tokens(string: str, length: int = 24) -> np.ndarray:
    data = string.encode()
    return np.array([byte + 6 for byte in data] + [0] * (length - len(data)), np.int32)


def words(page: str) -> str:
    text = re.sub(r"<[^>]*>", " ", page.partition("</style>")[2])
    return re.sub(r"\s+", " ", html.unescape(text))


def write(directory, task: str, model, dataset: DatasetInfo, batches: list[dict]) -> str:
    config = {
        "name": "texts:tiny",
        "task": {"name": task},
        "data": {"modality": "text", "eval_split": "test", "batch_size": 2, "text": {}},
    }
    return build.write_report(
        directory, model=model, task=tasks.build({"name": task}, dataset), config=config,
        info=dataset, metrics_file=directory / "none", eval_batches=batches, step=3,
    ).read_text()  # fmt: skip


class Model:
    """Says what it is told to; its only weight is for the count of parameters."""

    trainable_variables = (np.zeros(3),)

    def __init__(self, outputs):
        self.outputs = tf.constant(outputs, tf.float32)

    def __call__(self, batch, training):
        return self.outputs[: tf.shape(batch["text"])[0]]


def test_a_passage_says_what_was_hidden_and_what_was_found():
    target = tokens("the café <b> is open")
    masked = np.zeros(24, bool)
    masked[4:9] = masked[17:21] = True  # "café", of five bytes, and "open".
    answer = np.where(target >= 6, target - 6, 0)
    answer[17] = ord("O")
    found = masked_lm.passage(target, masked, answer)
    assert found.parts == (
        ("the ", ""), ("café", "right"), (" <b> is ", ""), ("Open", "wrong"), ("open", "truth"),
    )  # fmt: skip
    assert found.caption == "8 of 9 hidden bytes found"


def test_a_page_marks_passages_and_escapes_them():
    passage = Passage(
        "one & all", (("a <b>\n", ""), ("x", "right"), ("y", "wrong"), ("z", "truth"))
    )
    page = render("t", "s", [], [], [Section("Texts", "", passages=[passage])])
    assert "<p>a &lt;b&gt;\n<ins>x</ins><del>y</del><b>z</b></p>" in page
    assert "<figcaption>one &amp; all</figcaption>" in page


def test_what_cannot_be_seen_gets_a_sign():
    assert masked_lm.printable(b"a\x00\xff\n\x1b") == "a·\ufffd\n·"


def test_a_masked_language_model_is_reported(tmp_path):
    target = np.stack([tokens("abc def"), tokens("abc xyz"), tokens("padding")])
    masked = np.zeros((3, 24), bool)
    masked[:, 4:7] = True
    logits = 20 * np.eye(262)[np.where(target == 0, 6, target)]
    logits[1, 4, 6 + ord("y")] = 40.0  # "yyz" for "xyz".
    batch = {
        "text": tf.constant(np.where(masked, 3, target)), "text_mask": tf.constant(target > 0),
        "target": tf.constant(target), "masked": tf.constant(masked),
        "weight": tf.constant([1.0, 1.0, 0.0]), "shown": tf.constant(["", "", ""]),
    }  # fmt: skip
    page = write(tmp_path, "masked_lm", Model(logits), info(), [batch])
    text = words(page)
    assert "83.33 % of the masked bytes are found" in text
    bits = 20 / np.log(2) / 6
    assert f"{bits:.3f} bits a masked byte of test" in text
    assert "6 masked bytes, each counted once" in text
    assert "<ins>def</ins>" in page
    assert "<del>yyz</del><b>xyz</b>" in page
    assert "padding" not in text
    assert "x y 1 100.0 %" in text


def sentences(count: int) -> dict:
    strings = [f"first {i}\tsecond <{i}>" for i in range(count)]
    text = np.stack([tokens(string) for string in strings])
    return {
        "text": tf.constant(text), "text_mask": tf.constant(text > 0),
        "weight": tf.constant([1.0] * (count - 1) + [0.0]), "shown": tf.constant(strings),
    }  # fmt: skip


def test_sentences_are_reported_with_their_labels(tmp_path):
    batch = sentences(4) | {"label": tf.one_hot([0, 1, 1, 0], 2)}
    model = Model([[2.0, 0.0], [0.0, 2.0], [5.0, 0.0], [9.0, 0.0]])
    page = write(tmp_path, "sentences", model, info("different", "same"), [batch])
    assert "66.67 % accuracy on test" in words(page)
    assert "<p>first 2\nsecond &lt;2&gt;</p>" in page
    assert "different (99 %), is same (1 %)" in words(page)
    assert "first 3" not in page


def test_scores_are_reported_with_both_correlations(tmp_path):
    batch = sentences(4) | {"score": tf.constant([0.0, 2.0, 4.0, 5.0])}
    page = write(tmp_path, "similarity", Model([[1.0], [2.0], [2.5], [0.0]]), info(), [batch])
    assert "1.0000 Spearman's" in words(page)
    pearson = np.corrcoef([0, 2, 4], [1, 2, 2.5])[0, 1]
    assert f"{pearson:.4f} Pearson's correlation on test" in words(page)
    assert page.index("said 2.50, is 4.00") < page.index("said 1.00, is 0.00")
    assert (tmp_path / "scores.png").exists()


def test_an_empty_split_is_refused(tmp_path):
    batch = sentences(1) | {"score": tf.constant([1.0])}
    with pytest.raises(ValueError, match="evaluation split is empty"):
        write(tmp_path, "similarity", Model([[1.0]]), info(), [batch])
