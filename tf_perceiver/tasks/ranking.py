"""How well scores rank: areas under curves over a whole split, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn import metrics

CONFIDENCE = 0.95
_RESAMPLES_AT_ONCE = 100


def areas(scores: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """Areas under the ROC curve and under the precision-recall curve, by scikit-learn.

    Args:
      scores: float [n]; of equal ones, neither ranks before the other.
      positive: bool [n].

    Returns:
      "auroc"; "auprc", the average precision, without interpolation. NaN where they are undefined:
      a score isn't finite, or all examples are of one kind.
    """
    if not np.isfinite(scores).all() or positive.all() or not positive.any():
        return {"auroc": np.nan, "auprc": np.nan}
    return {
        "auroc": float(metrics.roc_auc_score(positive, scores)),
        "auprc": float(metrics.average_precision_score(positive, scores)),
    }


def with_intervals(
    scores: np.ndarray, positive: np.ndarray, resamples: int, seed: int = 0
) -> dict[str, float]:
    """`areas`, and the percentile bootstrap's interval of each at `CONFIDENCE`.

    Examples are drawn with replacement, as many as there are; draws without a positive or without a
    negative example are left out. The result depends neither on the order of the examples nor on
    anything but the seed.

    Args:
      scores: float [n]. positive: bool [n].
      resamples: number of draws; 0 for no intervals.
      seed: of the draws.

    Returns:
      "auroc", "auroc_low", "auroc_high" and the same for "auprc".
    """
    found = areas(scores, positive)
    if not resamples:
        return found
    samples = {name: np.full(1, np.nan) for name in found}
    if not np.isnan(found["auroc"]):
        # One order whatever the replicas': positives of a tie come last in it.
        order = np.lexsort((positive, scores))
        scores, positive = scores[order], positive[order]
        generator, drawn, size = np.random.default_rng(seed), [], len(scores)
        for start in range(0, resamples, _RESAMPLES_AT_ONCE):
            count = min(_RESAMPLES_AT_ONCE, resamples - start)
            chosen = generator.integers(size, size=(count, size)) + size * np.arange(count)[:, None]
            weights = np.bincount(chosen.ravel(), minlength=count * size).reshape(count, size)
            drawn.append(weighted_areas(scores, positive, weights))
        samples = {name: np.concatenate([one[name] for one in drawn]) for name in found}
    for name, values in samples.items():
        ends = np.full(2, np.nan)
        if np.isfinite(values).any():
            tail = (1 - CONFIDENCE) / 2
            ends = np.quantile(values[np.isfinite(values)], [tail, 1 - tail])
        found[f"{name}_low"], found[f"{name}_high"] = map(float, ends)
    return found


def weighted_areas(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> Mapping[str, np.ndarray]:
    """`areas` for many weightings at once, such as how often each example was drawn.

    Args:
      scores: float [n], finite, in rising order. positive: bool [n].
      weights: [r, n], at least 0.

    Returns:
      "auroc", "auprc": float64 [r], NaN where a kind of example has no weight.
    """
    # A column for each different score, the highest first.
    starts = np.flatnonzero(np.r_[True, np.diff(scores) > 0])
    mine = np.add.reduceat(weights * positive, starts, axis=1)[:, ::-1].astype(np.float64)
    others = np.add.reduceat(weights * ~positive, starts, axis=1)[:, ::-1].astype(np.float64)
    true, false = np.cumsum(mine, axis=1), np.cumsum(others, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # A pair of equal scores is won by half.
        won = (others * (true - mine / 2)).sum(axis=1)
        auroc = won / (true[:, -1] * false[:, -1])
        precision = np.where(true + false > 0, true / (true + false), 0.0)
        auprc = (mine * precision).sum(axis=1) / true[:, -1]
    return {"auroc": auroc, "auprc": np.where(np.isnan(auroc), np.nan, auprc)}
