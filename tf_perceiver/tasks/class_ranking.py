"""How well scores rank what has a label before what hasn't: exact, over a whole set, by class."""

from __future__ import annotations

import numpy as np


def average_precisions(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision of every class.

    The mean over the positives of the precision among all that score at least as high. Equal scores
    stand together, in whatever order they come.

    Args:
      scores: [n, classes]. labels: [n, classes], 1 where the example has the label, else 0.

    Returns:
      float64 [classes]; NaN for a class without a positive.
    """
    from sklearn.metrics import average_precision_score

    return _by_class(average_precision_score, scores, labels, needs_negatives=False)


def areas(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under every class's receiver operating characteristic; equal scores count half.

    Args:
      scores: [n, classes]. labels: [n, classes], 1 where the example has the label, else 0.

    Returns:
      float64 [classes]; NaN for a class without a positive or without a negative.
    """
    from sklearn.metrics import roc_auc_score

    return _by_class(roc_auc_score, scores, labels, needs_negatives=True)


def mean(values: np.ndarray) -> float:
    """The mean over the classes that have a value; NaN where none has."""
    found = values[~np.isnan(values)]
    return float(found.mean()) if len(found) else float("nan")


def _by_class(metric, scores: np.ndarray, labels: np.ndarray, needs_negatives: bool) -> np.ndarray:
    values = np.full(scores.shape[1], np.nan)
    positives = labels.astype(bool)
    for c in range(scores.shape[1]):
        have = int(positives[:, c].sum())
        if have and not (needs_negatives and have == len(labels)):
            values[c] = metric(positives[:, c], scores[:, c])
    return values
