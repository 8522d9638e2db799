"""Normalised inputs in parts: their statistics, projections and sums."""

from __future__ import annotations

import numpy as np
import pytest
import structured_cases as cases
import tensorflow as tf

from tf_perceiver.model import factors
from tf_perceiver.model.factors import Channels
from tf_perceiver.model.linear import normalise
from tf_perceiver.model.positions import Fourier, FourierGrid

DESCRIBED = [
    {"kind": "grid", "dims": (3, 4), "content": 3, "token": True},
    {"kind": "grid", "dims": (2, 3, 4), "content": 3, "token": False},
    {"kind": "grid", "dims": (5,), "content": 3, "token": False},
    {"kind": "table", "dims": (6,), "content": 2, "token": True},
    {"kind": "points", "dims": (6,), "content": 1, "token": False},
    {"kind": "added", "dims": (6,), "content": 3, "token": False},
]


def as_channels(parts, inputs):
    """What every single input has in the channels of the parts: rows of an identity."""
    scale, mean = parts.scale, parts.mean
    wide = [(x - mean) * scale for x in (parts.content, parts.positions) if x is not None]
    numbers = {"scale": scale, "mean": mean * scale, "token": parts.replaced}
    thin = [numbers[name] for name in parts.thin_names]
    outer = inner = None
    if parts.grid is not None:
        rows, columns = parts.rows_and_columns
        index = np.arange(inputs)
        outer = scale * np.eye(rows)[index // columns]
        inner = scale * np.eye(columns)[index % columns]
    return Channels(
        tf.concat(wide, -1) if wide else None, tf.concat(thin, -1) if thin else None, outer, inner
    )


@pytest.mark.parametrize("described", DESCRIBED, ids=lambda d: f"{d['kind']}{len(d['dims'])}")
def test_parts_are_the_normalised_inputs(described):
    case = cases.make([described], "float64")
    (segment,) = case.array(case.sources).segments
    parts = factors.of_segment(segment, tf.float64)
    dense = normalise(segment.dense(tf.float64))
    inputs = dense.shape[1]
    channels = as_channels(parts, inputs)
    np.testing.assert_allclose(parts.sums(channels), dense, atol=1e-12)

    queries = tf.random.stateless_normal([2, 5, dense.shape[2]], [0, 1], dtype=tf.float64)
    projected = parts.project(queries)
    logits = sum(
        tf.matmul(getattr(projected, name), getattr(channels, name), transpose_b=True)
        for name in ("wide", "thin", "outer", "inner")
        if getattr(projected, name) is not None
    )
    np.testing.assert_allclose(logits, tf.matmul(queries, dense, transpose_b=True), atol=1e-12)


def test_large_offsets_lose_nothing():
    rng = np.random.default_rng(0)
    content = (1000 + rng.normal(size=(1, 12, 40))).astype(np.float32)
    grid = FourierGrid(Fourier(2, (6, 6)), (3, 4))
    segment = factors.Segment(tf.constant(content), grid)
    single = factors.of_segment(segment, tf.float32)
    double = factors.of_segment(segment, tf.float64)
    np.testing.assert_allclose(single.scale, double.scale, rtol=1e-5)
    np.testing.assert_allclose(single.mean, double.mean, rtol=1e-6)


def test_a_single_axis_does_not_separate():
    grid = FourierGrid(Fourier(2, (6,)), (9,))
    assert not factors.separates(factors.Segment(tf.zeros([1, 9, 1]), grid))
    assert factors.width(factors.Segment(tf.zeros([1, 9, 1]), grid)) == 6
