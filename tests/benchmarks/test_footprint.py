"""A footprint counts what a call takes, beside what stays."""

from __future__ import annotations

import pytest
import tensorflow as tf

from benchmarks import footprint, subjects


def test_a_peak_counts_what_a_call_takes_beside_what_stays():
    size = 64 * 2**20

    def make():
        def call():
            return tf.reduce_sum(tf.fill([size // 4], 1.5)).numpy()

        batch = {"x": tf.zeros([3, 5])}
        return subjects.Subject("it", {"forward": call}, 0, 1, batch, 7)

    idle = subjects.Subject("it", {"forward": int}, 0, 1, {}, 0)
    small = footprint.peak_of(lambda: idle, "forward")
    large = footprint.peak_of(make, "forward")
    assert large["peak_bytes"] - small["peak_bytes"] == pytest.approx(size, rel=0.25)
    assert (large["batch_bytes"], large["parameter_bytes"]) == (60, 28)
