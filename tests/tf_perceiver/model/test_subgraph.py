"""Called parts of a graph: the same numbers, and the graph doesn't grow with the calls."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_perceiver.model import subgraph


class Pair(NamedTuple):
    sine: tf.Tensor
    cosine: tf.Tensor


def both(x, pair, *, times):
    """Of tensors and a structure of them, with something fixed."""
    return times * x, Pair(tf.sin(pair.sine), tf.cos(pair.cosine))


def calls_in(graph):
    return [op for op in graph.get_operations() if op.type.endswith("PartitionedCall")]


def test_a_call_is_what_it_calls():
    x = tf.constant([1.0, 2.0])
    expected = both(x, Pair(x, x), times=3)
    np.testing.assert_array_equal(subgraph.call(both, x, Pair(x, x), times=3)[0], expected[0])
    found = tf.function(lambda x: subgraph.call(both, x, Pair(x, x), times=3))(x)
    assert isinstance(found[1], Pair)
    for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_calls_share_one_function_and_what_is_fixed_tells_them_apart():
    def chain(x, counts):
        for times in counts:
            x, _ = subgraph.call(both, x, Pair(x, x), times=times)
        return x

    graph = tf.function(chain).get_concrete_function(tf.zeros(3), (2, 2, 2, 5, 5)).graph
    called = [op.get_attr("f").name for op in calls_in(graph)]
    assert len(called) == 5
    assert len(set(called)) == 2
    definitions = graph.as_graph_def().library.function
    assert all(definition.attr["_noinline"].b for definition in definitions)


def test_a_local_function_that_is_called_has_gradients_to_all_it_reads():
    weight = tf.Variable([2.0, 3.0])

    @tf.function
    def run(x, y):
        @subgraph.called
        def local(name, x):
            return {"sum": x + y, "product": x * y * weight}[name]

        with tf.GradientTape() as tape:
            tape.watch([x, y])
            z = local("product", local("product", local("sum", x)))
        return z, *tape.gradient(z, [x, y, weight])

    x, y = tf.constant([1.0, 2.0]), tf.constant([5.0, 7.0])
    z, d_x, d_y, d_weight = run(x, y)
    w = weight.numpy()
    np.testing.assert_allclose(z, (x + y) * y**2 * w**2)
    np.testing.assert_allclose(d_x, y**2 * w**2)
    np.testing.assert_allclose(d_y, (y**2 + 2 * (x + y) * y) * w**2)
    np.testing.assert_allclose(d_weight, 2 * (x + y) * y**2 * w)
    names = [op.get_attr("f").name for op in calls_in(run.get_concrete_function(x, y).graph)]
    assert len(names) == 6  # Forward and backward,
    assert len(set(names)) == 4  # of two functions.
