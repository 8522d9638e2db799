"""The whole report: from a model and its records to files that people open."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines.records import DatasetInfo, Feature, Shard, Split
from tf_perceiver.report import build, classification

CONFIG = {
    "name": "dots:tiny",
    "task": {"name": "classification"},
    "data": {
        "modality": "image",
        "eval_split": "test",
        "batch_size": 10,
        "image": {"size": (2, 3), "channels": 1, "mean": (0.5,), "std": (0.25,)},
    },
}
INFO = DatasetInfo(
    "dots",
    {"image": Feature("bytes"), "label": Feature("int64")},
    tuple("abcdef"),
    {"test": Split("test", (Shard("dots-test.tfrecord-00000-of-00001", 30, 1, "0"),))},
)
PICTURES = {
    "loss", "accuracy", "learning_rate", "samples_right", "samples_wrong", "attention",
    "confusion", "classes",
}  # fmt: skip


class Dots(tf.Module):
    """Answers with the brightest pixel; its attention is on that pixel."""

    trainable_variables = (np.zeros((3, 4)), np.zeros(5))

    def __call__(self, batch, training):
        return 4 * tf.reshape(batch["image"], [-1, 6])

    def first_cross_attention(self, batch):
        weights = tf.nn.softmax(tf.reshape(batch["image"], [-1, 1, 1, 6]))
        return tf.tile(weights, [1, 2, 4, 1])

    def input_grid(self, batch):
        return (2, 3)


def batches(wrong: bool = True) -> list[dict]:
    labels = np.arange(30) % 6
    images = np.eye(6, dtype=np.float32)[labels if not wrong else (labels + (labels > 3)) % 6]
    weights = np.ones(30, np.float32)
    weights[-6:] = 0
    return [
        {
            "image": images[i : i + 10].reshape(-1, 2, 3, 1),
            "label": np.eye(6, dtype=np.float32)[labels[i : i + 10]],
            "weight": weights[i : i + 10],
        }
        for i in (0, 10, 20)
    ]


@pytest.fixture
def metrics_file(tmp_path):
    rows = [
        {"kind": "train", "step": 5, "loss": 2.0, "accuracy": 0.1, "learning_rate": 1e-3,
         "examples_per_second": 10.0},
        {"kind": "eval", "split": "test", "step": 5, "loss": 1.9, "accuracy": 0.2,
         "top5_accuracy": 0.875},
        {"kind": "train", "step": 10, "loss": 1.0, "accuracy": 0.5, "learning_rate": 0.0,
         "examples_per_second": 5.0},
    ]  # fmt: skip
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def write(directory, metrics_file, step: int = 5, wrong: bool = True):
    return build.write_report(
        directory, model=Dots(), task=None, config=CONFIG, info=INFO, metrics_file=metrics_file,
        eval_batches=iter(batches(wrong)), step=step,
    )  # fmt: skip


def test_page_and_pictures_are_written(tmp_path, metrics_file):
    page = write(tmp_path / "run" / "report", metrics_file)
    assert page == tmp_path / "run" / "report" / "index.html"
    assert {file.stem for file in page.parent.glob("*.png")} == PICTURES
    for file in page.parent.glob("*.png"):
        picture = Image.open(io.BytesIO(file.read_bytes())).convert("L")
        assert min(picture.size) > 200
        assert picture.getextrema()[0] < 128 < picture.getextrema()[1], f"{file.name} is blank"
    # Nothing else: no temporary file stays.
    assert {file.suffix for file in page.parent.iterdir()} == {".png", ".html"}


def test_page_tells_the_numbers(tmp_path, metrics_file):
    text = write(tmp_path, metrics_file).read_text()
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))
    assert "66.67 % accuracy on test" in words
    assert "87.50 %" in words  # The evaluation's top-5 accuracy, at the step of the report.
    assert "24 examples, each counted once" in words
    assert "Parameters 17 " in words
    assert "Steps 5 of 10 examples" in words
    assert INFO.fingerprint[:16] in words
    assert "e f 4 100.0 %" in words  # The table of mistakes: e is always taken for f.
    # 5 steps of 10 examples at 10/s, then 5 at 5/s.
    assert "Time in training steps 15 s" in words
    assert "Speed 7 examples/s" in words


def test_a_model_without_mistakes_has_no_table_of_them(tmp_path, metrics_file):
    text = write(tmp_path, metrics_file, wrong=False).read_text()
    assert "100.00 %" in text
    assert "Most frequent mistakes" not in text
    assert "samples_wrong" not in text


def test_no_curves_without_a_log(tmp_path):
    text = write(tmp_path / "report", tmp_path / "metrics.jsonl").read_text()
    assert "Loss over" not in text
    assert "Time in training steps" not in text
    assert not (tmp_path / "report" / "loss.png").exists()


def test_writing_again_replaces_the_report(tmp_path, metrics_file):
    write(tmp_path / "report", metrics_file, step=5)
    page = write(tmp_path / "report", metrics_file, step=10)
    assert "step 10," in page.read_text()
    assert len(list(page.parent.iterdir())) == len(PICTURES) + 1


def test_a_step_done_twice_counts_as_it_came_out_last(tmp_path):
    file = tmp_path / "metrics.jsonl"
    rows = [("train", 10, 1.0), ("train", 20, float("nan")), ("train", 20, 0.5), ("eval", 20, 2.0)]
    lines = [json.dumps({"kind": kind, "step": step, "loss": loss}) for kind, step, loss in rows]
    file.write_text("\n".join([*lines, '{"kind": "train", "st']))  # Killed while writing.
    found = [(row["kind"], row["step"], row["loss"]) for row in build.read_rows(file)]
    assert found == [("train", 10, 1.0), ("train", 20, 0.5), ("eval", 20, 2.0)]


def test_many_classes_get_tables_of_the_lowest_and_highest():
    from tf_perceiver.report.answers import Answers

    classes = 100
    confusion = np.diag(np.arange(classes))
    confusion[:, 0] += classes - np.arange(classes)
    section = classification.classes(
        Answers(confusion, [], []), tuple(f"class {i}" for i in range(classes))
    )
    lowest, highest = section.tables
    assert lowest.rows[0] == ("class 1", "1.0 %", "100")
    assert highest.rows[:2] == (("class 0", "100.0 %", "100"), ("class 99", "99.0 %", "100"))


def test_command_writes_the_report_of_a_workdir(trained_digits, command, tmp_path):
    result = command(
        "tf_perceiver.report", f"--workdir={trained_digits.workdir}", f"--output={tmp_path / 'r'}"
    ).check()
    page = tmp_path / "r" / "index.html"
    assert result.stdout.strip() == str(page)
    text = page.read_text()
    assert "digits:tiny on digits" in text
    assert "100</b><span>examples" in text


def test_command_names_what_is_not_a_workdir(command, tmp_path):
    result = command("tf_perceiver.report", f"--workdir={tmp_path}")
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {tmp_path} is not a workdir")
    assert "Traceback" not in result.stderr
