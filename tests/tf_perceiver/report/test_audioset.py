"""The report on many labels: numbers, curves and clips, padding left out."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from configs import feeds
from pipelines.records import DatasetInfo, Shard, Split
from tf_perceiver import tasks
from tf_perceiver.report import audioset, build
from tf_perceiver.report.run import Run

LABELS = ("Speech", "Dog", "Beep", "Never")
SCORES = np.array(
    [[0.9, 0.1, 0.3, 0.1], [0.8, 0.4, 0.3, 0.1], [0.1, 0.7, 0.2, 0.1], [0.6, 0.5, 0.4, 0.7]]
)
TRUE = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], np.float32)


class Echo(tf.Module):
    """Answers with the logits that it is given."""

    trainable_variables = (np.zeros(3),)

    def __call__(self, batch, training):
        return batch["audio"]


def run() -> Run:
    split = Split("test", (Shard("toy-test.tfrecord-00000-of-00001", 4, 1, "0"),))
    info = DatasetInfo("toy", {}, LABELS, {"test": split})
    config = {"name": "toy", "task": {"name": "audioset"}, "data": feeds.sounds(8_000, 800, 2)}
    return Run(Echo(), tasks.build({"name": "audioset"}, info), config, info, [], 7)


def batches(padding: float = 0.0) -> list[dict]:
    logits = np.log(SCORES / (1 - SCORES)).astype(np.float32)
    pairs = [(logits[:2], TRUE[:2], [1, 1]), (logits[2:], TRUE[2:], [1, 1])]
    pairs.append((9 * np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32), [padding] * 2))
    return [
        {
            "audio": x, "label": y, "weight": np.array(w, np.float32),
            "shown": np.sin(np.arange(1600, dtype=np.float32)).reshape(2, 800),
        }
        for x, y, w in pairs
    ]  # fmt: skip


def test_numbers_leave_padding_out():
    kept, right, wrong = audioset.collected(run(), batches())
    np.testing.assert_allclose(kept["scores"], SCORES, rtol=1e-5)
    np.testing.assert_array_equal(kept["labels"], TRUE)
    assert [(one.answer, one.truth) for one in right] == [("Speech", "Speech"), ("Dog", "Dog")]
    assert [(one.answer, one.truth) for one in wrong] == [("Speech", "Dog"), ("Never", "Beep")]
    assert wrong[0].truth_score == pytest.approx(0.4)
    values = [headline.value for headline in audioset.headlines(run(), kept)]
    speech, dog = (1 + 1 / 2) / 2, (1 + 2 / 3) / 2
    assert values == [f"{(speech + dog + 1) / 3:.3f}", f"{(1 / 2 + 3 / 4 + 1) / 3:.3f}", "4"]


def test_labels_stand_by_their_average_precision():
    kept, *_ = audioset.collected(run(), batches())
    section = audioset.classes(kept, run().task.by_class(kept), LABELS)
    (table,) = section.tables
    assert [row[0] for row in table.rows] == ["Beep", "Dog", "Speech"]
    assert table.rows[0][1:] == ("1.000", "1.000", "1")
    assert "other 1 labels" in section.text


def test_curves_are_those_of_the_most_frequent_labels():
    kept, *_ = audioset.collected(run(), batches())
    figure = audioset.draw_curves(kept, [0, 2], np.array([0.5, 0, 1, 0]), LABELS)
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["Speech, AP 0.50", "Beep, AP 1.00"]


def test_the_page_is_written(tmp_path):
    one = run()
    page = build.write_report(
        tmp_path, model=one.model, task=one.task, config=one.config, info=one.info,
        metrics_file=tmp_path / "metrics.jsonl", eval_batches=batches(), step=7,
    )  # fmt: skip
    found = {path.stem for path in tmp_path.glob("*.png")}
    assert found == {"samples_right", "samples_wrong", "precision_recall"}
    assert "mean average precision" in page.read_text()


def test_no_example_is_an_error():
    with pytest.raises(ValueError, match="no example to report on"):
        audioset.collected(run(), batches()[2:])
