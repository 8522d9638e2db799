"""The report on who dies: which stays it shows, its tables, its curves."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics

from pipelines.records import DatasetInfo
from tf_perceiver.report import mortality, ranks, stays
from tf_perceiver.report.run import Run
from tf_perceiver.tasks.mortality import Mortality

NAMES = ["HR", "Urine", "pH"]
INFO = DatasetInfo("stays", {}, ("survived", "died"), {}, properties={"names": NAMES})


class Pulse:
    """The log-odds of death are the mean of the values; attention is on the last real input."""

    def __call__(self, batch, training):
        mask = tf.cast(batch["series_mask"], tf.float32)
        odds = tf.reduce_sum(batch["series"][..., 1] * mask, 1) / tf.reduce_sum(mask, 1)
        return tf.stack([-odds / 2, odds / 2], 1)

    def first_cross_attention(self, batch):
        mask = np.asarray(batch["series_mask"], np.float32)
        last = mask * (np.cumsum(mask, 1) == mask.sum(1, keepdims=True))
        return np.tile(last[:, None, None], [1, 2, 4, 1])


def run(**data) -> Run:
    config = {
        "data": {"eval_split": "test", "modality": "series", "series": {"hours": 48.0}, **data}
    }
    return Run(Pulse(), Mortality(INFO, resamples=100), config, INFO, [], 20)


def batches(odds: list[float], died: list[int], padding: int = 1) -> list[dict]:
    """One batch; each stay has two pulses and a pH of the value that makes its odds."""
    count = len(odds)
    series = np.zeros((count + padding, 5, 2), np.float32)
    series[:count, :3, 1] = np.array(odds)[:, None]
    series[count:, :, 1] = 99.0
    return [
        {
            "series": tf.constant(series),
            "series_variable": np.tile(np.array([0, 0, 2, 0, 0], np.int32), (count + padding, 1)),
            "series_mask": np.tile(np.arange(5) < 3, (count + padding, 1)),
            "label": np.eye(2, dtype=np.float32)[[*died, *[0] * padding]],
            "weight": np.array([1.0] * count + [0.0] * padding, np.float32),
        }
    ]


ODDS = [-3.0, 2.0, -1.0, 0.5, -2.0, 1.0, -4.0]
DIED = [0, 1, 0, 1, 1, 0, 0]


def test_padding_is_left_out_and_the_telling_stays_are_kept():
    answered = mortality.answers(run(), batches(ODDS, DIED))
    np.testing.assert_allclose(answered.score, ODDS, rtol=1e-6)
    np.testing.assert_allclose(answered.risk, 1 / (1 + np.exp(-np.array(ODDS))), rtol=1e-6)
    np.testing.assert_array_equal(answered.died, np.array(DIED, bool))
    assert [i for _, i in answered.highest] == [1, 5, 3]
    assert [i for _, i in answered.lowest] == [6, 0, 4]
    assert [i for _, i in answered.missed] == [4, 3, 1]
    assert answered.missed[0][0]["series"][0, 1] == -2.0


def test_the_parts_say_the_numbers():
    headlines, found = mortality.parts(run(), batches(ODDS, DIED))
    area = metrics.roc_auc_score(DIED, ODDS)
    assert headlines[0].value == f"{area:.3f}"
    assert headlines[2].value == "3 of 7"
    tables = {section.title: section.tables for section in found}
    (risks,) = tables["Probabilities"]
    assert risks.rows[0] == ("0 to 5 %", "2", "3.3 %", "0.0 %")
    assert sum(int(row[1]) for row in risks.rows) == 7
    (variables,) = tables["Where the model looks"]
    assert variables.rows[0] == ("pH", "100.0 %", "33.3 %")
    assert variables.rows[1] == ("HR", "0.0 %", "66.7 %")
    pictures = {picture.name for section in found for picture in section.pictures}
    assert pictures == {"ranking", "stays"}


def test_of_one_outcome_there_is_nothing_to_rank():
    _, found = mortality.parts(run(), batches(ODDS[:2], [0, 0]))
    ranked = next(section for section in found if section.title == "Ranking")
    assert not ranked.pictures
    assert "nothing to rank" in ranked.text


def test_without_examples_there_is_no_report():
    with pytest.raises(ValueError, match="no example to report on"):
        mortality.parts(run(), batches([], []))


def test_inputs_of_another_modality_are_not_drawn():
    other = run(modality="audio")
    _, found = mortality.parts(other, batches(ODDS, DIED))
    assert [section.title for section in found] == ["Training", "Ranking", "Probabilities"]


def ranked(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    positive = draw.random(count) < 0.3
    return np.round(draw.normal(positive * 1.5), 1), positive


def test_the_curves_have_the_areas_that_are_told():
    scores, positive = ranked()
    left, right = ranks.curves(scores, positive).axes
    roc = left.lines[1]
    area = np.trapz(roc.get_ydata(), roc.get_xdata())
    assert area == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-9)
    recall, precision = right.lines[1].get_data()
    area = -(np.diff(np.r_[recall, 0]) * precision).sum()
    assert area == pytest.approx(metrics.average_precision_score(positive, scores), abs=1e-9)
    assert right.lines[0].get_ydata()[0] == pytest.approx(positive.mean())


def test_the_bands_hold_the_curve():
    scores, positive = ranked()
    (low, high), (worse, better) = ranks.bands(scores, positive)
    assert (low <= high).all()
    assert (worse <= better).all()
    false, true, _ = metrics.roc_curve(positive, scores)
    curve = np.interp(np.linspace(0, 1, 201), false, true)
    assert ((low - 1e-9 <= curve) & (curve <= high + 1e-9)).mean() > 0.97
    # At each recall the precision of the highest threshold that reaches it.
    ranked_by = np.argsort(-scores, kind="stable")
    for place in (20, 100, 200):
        needed = np.searchsorted(np.cumsum(positive[ranked_by]), place / 200 * positive.sum())
        alarmed = scores >= scores[ranked_by][needed]
        assert worse[place] <= positive[alarmed].mean() <= better[place]


def test_a_stay_is_drawn_where_and_when_it_was_measured():
    one = {
        "series": np.array([[-1, 0], [0, 1.5], [1, -2], [0, 9]], np.float32),
        "series_variable": np.array([0, 2, 2, 1]),
        "series_mask": np.array([True, True, True, False]),
    }
    figure = stays.drawn([(one, "a"), (one, "b")], NAMES, 48.0)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["HR", "pH"]
    dots = axes.collections[0]
    np.testing.assert_allclose(dots.get_offsets(), [[0, 0], [24, 1], [48, 1]])
    np.testing.assert_allclose(dots.get_array(), [0, 1.5, -2])
