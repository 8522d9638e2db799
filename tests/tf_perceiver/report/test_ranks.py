"""Curves of precision over recall: what they enclose, and where they begin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tf_perceiver.report import ranks


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=40).filter(
        lambda rows: any(positive for positive, _ in rows)
    )
)
def test_the_area_below_the_steps_is_the_average_precision(rows):
    positive, scores = map(np.array, zip(*rows, strict=True))
    recall, precision = ranks.precision_by_recall(positive, scores)
    assert (np.diff(recall) <= 0).all()
    assert (recall[0], recall[-1]) == (1, 0)
    assert (precision > 0).all()
    area = -(np.diff(recall) * precision[:-1]).sum()
    assert area == pytest.approx(metrics.average_precision_score(positive, scores), abs=1e-12)


def test_the_curve_begins_with_the_first_that_is_found():
    recall, precision = ranks.precision_by_recall(
        np.array([False, True, False, True]), np.array([4, 3, 2, 1])
    )
    np.testing.assert_allclose(recall, [1, 0.5, 0.5, 0])
    np.testing.assert_allclose(precision, [0.5, 1 / 3, 0.5, 0.5])
