"""Sums over records."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.statistics import add_totals

NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1), st.randoms())
def test_sums_are_exactly_rounded_in_any_order(rows, random):
    parts = [{"sum": list(row), "count": [1.0]} for row in rows]
    random.shuffle(parts)
    expected = {
        "sum": [math.fsum(column) for column in zip(*rows, strict=True)],
        "count": [float(len(rows))],
    }
    assert add_totals(parts) == expected


def test_nothing_sums_to_nothing():
    assert add_totals([]) == {}
