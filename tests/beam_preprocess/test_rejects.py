"""Rejects: the limit, and a flag that really accepts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess import rejects
from beam_preprocess.rejects import Reject, TooManyRejects


def some(count: int) -> list[Reject]:
    return [Reject("train", f"{n}", ("empty-file", "not-finite")[n % 2], "x") for n in range(count)]


def test_at_the_limit_is_accepted_and_above_it_is_not():
    rejects.check(some(2), 1000, 0.002)
    with pytest.raises(TooManyRejects) as caught:
        rejects.check(some(3), 1000, 0.002)
    message = str(caught.value)
    assert "3 of 1,000 items were rejected (2 empty-file, 1 not-finite)" in message
    assert message.endswith("--max_reject_fraction=0.0030")


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))))
def test_the_printed_fraction_accepts_and_is_near(pair):
    rejected, items = pair
    fraction = float(rejects.accepting_fraction(rejected, items))
    assert rejected <= fraction * items
    assert fraction - rejected / items < 1.1e-4


def test_lines_return():
    lines = "".join(reject.to_line() for reject in some(3))
    assert rejects.read_lines(lines) == some(3)
    assert rejects.count_by_reason(some(3)) == {"empty-file": 2, "not-finite": 1}
