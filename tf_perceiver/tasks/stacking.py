"""Generalised zero-shot accuracy: seen, unseen, their harmonic mean, under calibrated stacking.

What a model never saw in training is far from everything it makes, so that the seen classes win too
often. Calibrated stacking (Chao et al., ECCV 2016) makes their distances longer by one number, the
bias, which is chosen on a validation split. The numbers are those of the AVCA benchmarks (Mercea et
al., CVPR 2022): accuracies are means over classes, of which the nearest is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def answers(distances: np.ndarray, seen: np.ndarray, bias: float) -> np.ndarray:
    """int64 [n]: the nearest class, `bias` being added for the seen ones; of equals, the first.

    Args:
      distances: [n, classes]. seen: bool [classes]. bias: at least 0.
    """
    return np.argmin(distances + bias * seen, axis=1)


def class_accuracies(answered: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Share of each class's examples that is answered right.

    Args:
      answered, labels: int [n]. classes: number of them.

    Returns:
      float64 [classes]; NaN for a class without an example.
    """
    totals = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[answered == labels], minlength=classes)
    return np.where(totals > 0, right / np.maximum(totals, 1), np.nan)


def harmonic_mean(first: float, second: float) -> float:
    """2 / (1 / first + 1 / second); 0 where both are."""
    total = first + second
    return 0.0 if total == 0 else 2 * first * second / total


def accuracies(
    distances: np.ndarray, labels: np.ndarray, seen: np.ndarray, bias: float
) -> dict[str, float]:
    """The benchmark's four numbers under one bias.

    Args:
      distances: [n, classes]. labels: int [n]. seen: bool [classes]. bias: see `answers`.

    Returns:
      "seen_accuracy" and "unseen_accuracy", means over the classes that have examples, among all
      classes; "harmonic_mean" of the two; "zsl_accuracy", of the unseen classes' examples among the
      unseen classes alone, which no bias changes. NaN where there is no example.
    """
    distances = np.asarray(distances, np.float64)
    found = class_accuracies(answers(distances, seen, bias), labels, len(seen))
    first, second = _mean(found[seen]), _mean(found[~seen])
    return {
        "seen_accuracy": first,
        "unseen_accuracy": second,
        "harmonic_mean": harmonic_mean(first, second),
        "zsl_accuracy": _mean(unseen_accuracies(distances, labels, seen)[~seen]),
    }


def unseen_accuracies(distances: np.ndarray, labels: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """`class_accuracies` where the answer can't be a seen class; NaN for these."""
    unseen = np.flatnonzero(~seen)
    found = np.full(len(seen), np.nan)
    if len(unseen):
        mine = ~seen[labels]
        nearest = unseen[np.argmin(distances[mine][:, unseen], axis=1)]
        found[unseen] = class_accuracies(nearest, labels[mine], len(seen))[unseen]
    return found


def chosen_bias(
    distances: np.ndarray, labels: np.ndarray, seen: np.ndarray, biases: Sequence[float]
) -> float:
    """The bias with the highest harmonic mean; of equally good ones, the first.

    Args:
      distances, labels, seen: as for `accuracies`. biases: that are tried.
    """
    means = [accuracies(distances, labels, seen, bias)["harmonic_mean"] for bias in biases]
    # Without seen or without unseen examples there is nothing to choose by.
    return float(biases[int(np.argmax(np.nan_to_num(means)))])


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
