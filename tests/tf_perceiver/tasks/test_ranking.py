"""Areas against their definitions by pairs and by thresholds, ties included; the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tf_perceiver.tasks import ranking


def by_pairs(scores, positive) -> float:
    """Share of pairs of a positive and a negative that are ranked right; a tie is half."""
    won = 0.0
    for ours in scores[positive]:
        for other in scores[~positive]:
            won += 1.0 if ours > other else 0.5 if ours == other else 0.0
    return won / (positive.sum() * (~positive).sum())


def by_thresholds(scores, positive) -> float:
    """Sum over thresholds of the recall that each adds times the precision there."""
    area, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        above = scores >= threshold
        found = (above & positive).sum() / positive.sum()
        area += (found - recall) * (above & positive).sum() / above.sum()
        recall = found
    return area


# Few different scores, so that there are many ties.
CASES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=60).filter(
    lambda case: len({positive for _, positive in case}) == 2
)


@given(case=CASES)
def test_areas_are_their_definitions(case):
    scores = np.array([score / 7 for score, _ in case])
    positive = np.array([positive for _, positive in case])
    found = ranking.areas(scores, positive)
    assert found["auroc"] == pytest.approx(by_pairs(scores, positive), abs=1e-9)
    assert found["auprc"] == pytest.approx(by_thresholds(scores, positive), abs=1e-9)


@given(case=CASES, seed=st.integers(0, 2**31))
def test_weighted_areas_are_scikit_learn_s(case, seed):
    case = sorted(case)
    scores = np.array([score / 7 for score, _ in case])
    positive = np.array([positive for _, positive in case])
    weights = np.random.default_rng(seed).integers(0, 4, (5, len(case)))
    found = ranking.weighted_areas(scores, positive, weights)
    for row, auroc, auprc in zip(weights, found["auroc"], found["auprc"], strict=True):
        if not row[positive].sum() or not row[~positive].sum():
            assert np.isnan(auroc)
            assert np.isnan(auprc)
            continue
        expected = metrics.roc_auc_score(positive, scores, sample_weight=row)
        assert auroc == pytest.approx(expected, abs=1e-9)
        expected = metrics.average_precision_score(positive, scores, sample_weight=row)
        assert auprc == pytest.approx(expected, abs=1e-9)


def ranked(examples: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    positive = generator.random(examples) < 0.2
    return np.round(generator.normal(positive * 1.0, 1.0), 1), positive


def test_intervals_depend_on_neither_order_nor_luck():
    scores, positive = ranked(200)
    found = ranking.with_intervals(scores, positive, 250)
    order = np.random.default_rng(1).permutation(200)
    assert ranking.with_intervals(scores[order], positive[order], 250) == found
    assert list(found) == [
        "auroc", "auprc", "auroc_low", "auroc_high", "auprc_low", "auprc_high",
    ]  # fmt: skip
    for name in ("auroc", "auprc"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]


def test_the_bootstrap_is_the_plain_one():
    scores, positive = ranked(40)
    order = np.lexsort((positive, scores))
    scores, positive = scores[order], positive[order]
    generator = np.random.default_rng(3)
    plain = []
    for chosen in generator.integers(40, size=(100, 40)):
        if 0 < positive[chosen].sum() < 40:
            plain.append(metrics.roc_auc_score(positive[chosen], scores[chosen]))
    found = ranking.with_intervals(scores, positive, 100, seed=3)
    expected = np.quantile(plain, [0.025, 0.975])
    assert [found["auroc_low"], found["auroc_high"]] == pytest.approx(expected, abs=1e-9)


def test_the_interval_is_as_wide_as_theory_says():
    scores, positive = ranked(2000)
    found = ranking.with_intervals(scores, positive, 1000)
    # Hanley and McNeil, 1982.
    a, n, m = found["auroc"], positive.sum(), (~positive).sum()
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = np.sqrt((a * (1 - a) + (n - 1) * (q1 - a * a) + (m - 1) * (q2 - a * a)) / (n * m))
    width = found["auroc_high"] - found["auroc_low"]
    assert width == pytest.approx(2 * 1.96 * error, rel=0.15)


@pytest.mark.parametrize(
    ("scores", "positive"),
    [([1.0, 2.0], [True, True]), ([1.0, 2.0], [False, False]), ([1.0, np.nan], [True, False])],
)
def test_what_is_undefined_is_nan(scores, positive):
    found = ranking.with_intervals(np.array(scores), np.array(positive), 10)
    assert len(found) == 6
    assert np.isnan(list(found.values())).all()


def test_a_draw_of_one_kind_alone_is_left_out():
    found = ranking.with_intervals(np.array([0.0, 1.0]), np.array([False, True]), 50)
    assert set(found.values()) == {1.0}


def test_without_resamples_there_are_no_intervals():
    assert list(ranking.with_intervals(*ranked(20), 0)) == ["auroc", "auprc"]
