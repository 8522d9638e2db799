"""The machine's rate is FLOPs over the median time, and the products are what they are called."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from benchmarks import machine


def test_rates_are_flops_over_the_median():
    times = {"matmul 10x20x30": [1.0, 2.0, 4.0], "structured forward": [9.0]}
    assert machine.rates(times) == {"10x20x30": 2 * 10 * 20 * 30 / 2.0}


def test_the_products_have_the_shapes_of_their_names():
    (name,), (call,) = zip(*machine.matmuls("bfloat16", [(3, 5, 2)]).items(), strict=True)
    assert name == "matmul 3x5x2"
    product = call()
    assert (product.shape, product.dtype) == ((3, 2), tf.bfloat16)
    assert np.any(np.asarray(product, np.float32) != 0)


def test_the_machine_is_described():
    told = machine.describe()
    assert told["tensorflow"] == tf.__version__
    assert 1 <= told["cores"] <= os.cpu_count()
    assert told["memory"] > 2**28
    assert "CPU" in told["devices"]
    assert told["processor"]
