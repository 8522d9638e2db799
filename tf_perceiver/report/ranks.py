"""ROC and precision-recall curves, with bands from resampled examples."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn import metrics

from tf_perceiver.report import style

RESAMPLES = 200  # Behind the bands.
_PLACES = np.linspace(0, 1, 201)  # Where the resampled curves are compared.


def curves(scores: np.ndarray, positive: np.ndarray) -> Figure:
    """Draws both curves side by side.

    Args:
      scores: float [n], finite. positive: bool [n], with both values.
    """
    figure = style.figure(9.0, 4.2, layout="constrained")
    left, right = figure.subplots(1, 2)
    roc, recalled = bands(scores, positive)
    false, true, _ = metrics.roc_curve(positive, scores)
    left.plot([0, 1], [0, 1], color=style.FAINT, linestyle="--", linewidth=1)
    left.fill_between(_PLACES, *roc, color=style.BLUE, alpha=0.2, linewidth=0)
    left.plot(false, true, color=style.BLUE, linewidth=1.6)
    left.set_xlabel("false alarms among those without", color=style.INK)
    left.set_ylabel("found among those with", color=style.INK)
    recall, precision = precision_by_recall(positive, scores)
    share = positive.mean()
    right.plot([0, 1], [share, share], color=style.FAINT, linestyle="--", linewidth=1)
    right.fill_between(_PLACES, *recalled, color=style.VERMILION, alpha=0.2, linewidth=0)
    right.step(recall, precision, where="post", color=style.VERMILION, linewidth=1.4)
    right.set_xlabel("found among those with (recall)", color=style.INK)
    right.set_ylabel("true among the alarms (precision)", color=style.INK)
    for axes in (left, right):
        axes.set(xlim=(-0.01, 1.01), ylim=(0, 1.02))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(color=style.FAINT, alpha=0.25, linewidth=0.6)
        style.quiet(axes)
    return figure


def bands(scores: np.ndarray, positive: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Between which heights 95 % of the resampled examples' curves run.

    Args:
      scores, positive: as for `curves`.
      seed: of the resamples.

    Returns:
      float64 [2, 201] each: lower and upper end of the ROC curve over false alarms in [0, 1], and
      of the precision over recall.
    """
    generator = np.random.default_rng(seed)
    roc, recalled = [], []
    for _ in range(RESAMPLES):
        chosen = generator.integers(len(scores), size=len(scores))
        truth, score = positive[chosen], scores[chosen]
        if truth.all() or not truth.any():
            continue
        false, true, _ = metrics.roc_curve(truth, score)
        roc.append(np.interp(_PLACES, false, true))
        recall, precision = precision_by_recall(truth, score)
        # The precision at a recall: that of the first threshold which reaches it.
        place = np.searchsorted(recall[::-1], _PLACES)
        recalled.append(precision[::-1][np.minimum(place, len(recall) - 1)])
    return tuple(np.quantile(np.array(found), [0.025, 0.975], axis=0) for found in (roc, recalled))


def precision_by_recall(
    positive: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points (recall, precision) of falling recall, the last at none.

    Up to the first positive that is found there is one precision: that with it. The area below the
    steps to the left of the points is the average precision.

    Args:
      positive: [n], at least one. scores: [n].
    """
    precision, recall, _ = metrics.precision_recall_curve(positive, scores)
    precision, recall = precision[recall > 0], recall[recall > 0]
    return np.append(recall, 0), np.append(precision, precision[-1])
