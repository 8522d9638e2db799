"""Survival's likelihoods, curves and concordance against plain definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.records import DatasetInfo
from tf_perceiver import tasks
from tf_perceiver.tasks import survival

EVENTS = np.zeros(30)
EVENTS[[2, 5, 9, 14, 20, 27]] = [1, 2, 2, 2, 2, 1]
CENSORED = np.zeros(30)
CENSORED[[4, 9, 29]] = [3, 1, 4]


def info(events=EVENTS, censored=CENSORED) -> DatasetInfo:
    totals = {"events": events.tolist(), "censored": censored.tolist()}
    return DatasetInfo("toy", {}, (), {}, statistics={"train": {"totals": totals}})


def task(**fields):
    return tasks.build({"name": "survival", **fields}, info())


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def plain_discrete(logits, time_bin, event, alpha):
    """One patient, as the literature writes it: (1 - alpha) all + alpha uncensored."""
    hazards = [sigmoid(x) for x in logits]
    curve = [1.0]
    for hazard in hazards:
        curve.append(curve[-1] * (1 - hazard))
    uncensored = -event * (math.log(curve[time_bin]) + math.log(hazards[time_bin]))
    censored = -(1 - event) * math.log(curve[time_bin + 1])
    return (1 - alpha) * (censored + uncensored) + alpha * uncensored


def plain_cox(risks, times, events):
    terms = []
    for risk, time, event in zip(risks, times, events, strict=True):
        at_risk = sum(math.exp(r) for r, t in zip(risks, times, strict=True) if t >= time)
        terms.append(-event * (risk - math.log(at_risk)))
    return terms


def plain_concordance(times, events, risks):
    good, pairs = 0.0, 0
    for i in range(len(times)):
        for j in range(len(times)):
            earlier = times[i] < times[j] or (times[i] == times[j] and not events[j])
            if i != j and events[i] and earlier:
                pairs += 1
                good += 1.0 if risks[i] > risks[j] else 0.5 if risks[i] == risks[j] else 0.0
    return good / pairs if pairs else math.nan


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_the_discrete_likelihood_is_the_literatures(alpha):
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(40, 4)) * 3
    bins, events = draw.integers(0, 4, 40), draw.integers(0, 2, 40)
    losses = survival.discrete_loss(tf.constant(logits), bins, events, alpha).numpy()
    expected = [plain_discrete(*row, alpha) for row in zip(logits, bins, events, strict=True)]
    np.testing.assert_allclose(losses, expected, rtol=1e-12)


def test_the_discrete_likelihood_and_its_slopes_stay_finite_for_certain_outputs():
    logits = tf.constant([[1e4, -1e4], [-1e4, 1e4]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = survival.discrete_loss(logits, [1, 0], [1.0, 0.0])
    np.testing.assert_allclose(losses, [2e4, 0], atol=1e-6)
    assert np.isfinite(tape.gradient(losses, logits)).all()


def test_coxs_likelihood_is_over_the_risk_sets_with_ties_as_breslows():
    draw = np.random.default_rng(1)
    risks, times, events = draw.normal(size=30), draw.integers(1, 9, 30), draw.integers(0, 2, 30)
    losses = survival.cox_loss(tf.constant(risks), tf.constant(times, tf.float64), events)
    np.testing.assert_allclose(losses, plain_cox(risks, times, events), rtol=1e-12, atol=1e-14)


def test_padding_changes_no_loss_of_cox_and_the_mean_risk_is_drawn_to_zero():
    cox = task(likelihood="cox")
    risks = tf.constant([[0.5], [1.5], [-1.0], [70.0]])
    batch = {
        "time": tf.constant([5.0, 2.0, 7.0, 0.0]),
        "event": tf.constant([1.0, 1.0, 0.0, 0.0]),
        "weight": tf.constant([1.0, 1.0, 1.0, 0.0]),
    }
    expected = np.array(plain_cox([0.5, 1.5, -1.0], [5, 2, 7], [1, 1, 0])) + (1 / 3) ** 2
    np.testing.assert_allclose(cox.loss(risks, batch, False)[:3], expected, rtol=1e-5)
    real = {name: value[:3] for name, value in batch.items() if name != "weight"}
    np.testing.assert_allclose(cox.loss(risks[:3], real, True), expected, rtol=1e-5)


patients = st.lists(
    st.tuples(st.integers(1, 6), st.integers(0, 1), st.integers(-3, 3)), min_size=1, max_size=40
)


@settings(max_examples=200, deadline=None)
@given(patients)
def test_concordance_equals_the_count_of_all_pairs(rows):
    times, events, risks = map(np.array, zip(*rows, strict=True))
    ours = survival.concordance_index(times, events, risks / 7)
    assert ours == pytest.approx(plain_concordance(times, events, risks), abs=1e-9, nan_ok=True)


def test_concordance_of_known_orders():
    times, events = [1, 2, 3, 4], [1, 1, 0, 1]
    assert survival.concordance_index(times, events, [4, 3, 2, 1]) == 1
    assert survival.concordance_index(times, events, [1, 2, 3, 4]) == 0
    assert survival.concordance_index(times, events, [1, 1, 1, 1]) == 0.5
    # The first two at one time, one of them censored: the event counts as the shorter.
    assert survival.concordance_index([1, 1], [1, 0], [2, 1]) == 1
    assert math.isnan(survival.concordance_index([1, 1], [1, 1], [2, 1]))


def test_bins_hold_equal_shares_of_the_training_events():
    discrete = task(bins=3)  # Ten events: 2, 5 5, 9 9 and so on.
    np.testing.assert_array_equal(discrete.edges, [10, 15])
    assert discrete.times.tolist() == [10, 15, 30]
    found = discrete.bin(tf.constant([0.1, 9.99, 10.0, 14.5, 15.0, 400.0]))
    assert found.numpy().tolist() == [0, 0, 1, 1, 2, 2]
    losses = discrete.loss(
        tf.zeros((2, 3)),
        {"time": tf.constant([12.0, 20.0]), "event": tf.constant([1.0, 0.0])},
        True,
    )
    np.testing.assert_allclose(losses, [2 * math.log(2), 3 * math.log(2)], rtol=1e-6)


def test_discrete_answers_are_the_curve_and_its_sum():
    logits = np.array([[0.0, 2.0, -1.0], [-3.0, -3.0, -3.0]], np.float32)
    said = task(bins=3).answers(tf.constant(logits))
    hazards = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(said["survival"], np.cumprod(1 - hazards, 1), rtol=1e-5)
    np.testing.assert_allclose(said["risk"], -np.cumprod(1 - hazards, 1).sum(1), rtol=1e-5)
    np.testing.assert_array_equal(said["times"], [[10, 15, 30]] * 2)


def test_coxs_curve_is_the_baseline_to_the_power_of_the_risk():
    cox = task(likelihood="cox")
    said = {name: value.numpy() for name, value in cox.answers(tf.constant([[0.0], [1.2]])).items()}
    np.testing.assert_allclose(said["survival"][0], cox.baseline, rtol=1e-5)
    np.testing.assert_allclose(said["survival"][1], cox.baseline ** np.exp(1.2), rtol=1e-4)
    assert (np.diff(cox.baseline) <= 0).all()
    assert cox.times[-1] == 30


def test_the_baseline_is_kaplans_and_meiers():
    times = np.array([1, 3, 5.9, 6, 30], np.float32)
    at_risk = [18, 17 - 3, 12]  # Before the deaths of months 2, 5 and 9.
    after_2 = 1 - 1 / at_risk[0]
    after_5 = after_2 * (1 - 2 / at_risk[1])
    found = survival.kaplan_meier_by_month(EVENTS, CENSORED, times)
    np.testing.assert_allclose(found[:4], [1, after_2, after_2, after_5], rtol=1e-6)
    left, product = 18, 1.0
    for deaths, lost in zip(EVENTS, CENSORED, strict=True):
        product *= 1 - deaths / left if left else 1
        left -= deaths + lost
    assert found[4] == pytest.approx(product)


def test_an_evaluation_tells_the_concordance_of_the_whole_split():
    discrete = task(bins=3)
    logits = tf.constant(np.random.default_rng(0).normal(size=(9, 3)), tf.float32)
    batch = {"time": tf.range(1.0, 10.0), "event": tf.constant([1.0, 0, 1, 1, 0, 1, 0, 0, 1])}
    kept = {name: value.numpy() for name, value in discrete.kept(logits, batch).items()}
    expected = plain_concordance(kept["time"], kept["event"], kept["risk"])
    assert discrete.whole(kept) == {"c_index": pytest.approx(expected, abs=1e-9)}
    assert discrete.whole({name: value[:1] for name, value in kept.items()}) == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"likelihood": "cocks"}, "config.task.likelihood='cocks' is none of"),
        ({"alpha": 1.0}, "config.task.alpha=1.0 is not in"),
        ({"bins": 1}, "config.task.bins=1 must be at least 2"),
        ({"bins": 9}, "config.task.bins=9: the 10 events of the training split can't be divided"),
    ],
)
def test_a_bad_field_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        task(**fields)


def test_a_dataset_without_counts_is_named():
    with pytest.raises(ValueError, match="dataset 'bare' doesn't count its events by month"):
        tasks.build({"name": "survival"}, DatasetInfo("bare", {}, (), {}))
