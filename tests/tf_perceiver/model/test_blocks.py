"""How inputs are cut into blocks and tiles."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_perceiver.model import blocks


def test_images_are_walked_in_small_tiles():
    assert blocks.choose((224, 224), 224 * 224, 512, width=3) == blocks.Blocks(224, 224, 14, 8)


def test_wide_inputs_have_few_tiles_and_many_queries_have_thick_blocks():
    assert blocks.choose((448, 28), 12_544, 512, width=384).tiles == 1
    assert blocks.choose(None, 10_000, 2048).rows == 2000


@given(
    grid=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    lanes=st.integers(1, 5000),
    size=st.integers(0, 100_000),
)
def test_a_block_is_no_larger_than_asked(grid, lanes, size):
    outer, inner = grid
    walk = blocks.choose(grid, outer * inner, lanes, size=size)
    assert inner % walk.columns == 0
    assert 1 <= walk.rows <= outer
    if size:
        assert walk.rows == 1 or walk.rows * inner * lanes <= size


def test_tiles_are_the_grid_rearranged():
    walk = blocks.Blocks(4, 6, 4, 3)
    x = np.arange(2 * 24 * 2).reshape(2, 4, 6, 2)
    tiles = walk.to_tiles(tf.constant(x.reshape(2, 24, 2)), 4)
    expected = [x[:, :, :3].reshape(2, 12, 2), x[:, :, 3:].reshape(2, 12, 2)]
    np.testing.assert_array_equal(tiles, np.stack(expected, 1))
    np.testing.assert_array_equal(walk.from_tiles(tiles, 4), x.reshape(2, 24, 2))


def test_one_hot_channels_name_row_and_column():
    hot = blocks.Blocks(2, 6, 2, 3).one_hot(2, tf.float32).numpy()
    np.testing.assert_array_equal(hot[4], [0, 1, 0, 0, 1])  # Column 1, row 1.


@settings(max_examples=10)
@given(outer=st.integers(1, 12), rows=st.integers(1, 5), inner=st.integers(1, 3))
def test_a_walk_visits_every_row_once_and_in_order(outer, rows, inner):
    walk = blocks.Blocks(outer, inner, rows, inner)
    x = tf.reshape(tf.range(float(2 * outer * inner)), [2, outer * inner, 1])

    def body(start, count, state):
        (piece,) = walk.cut([x], start, count)
        return (state[0] + tf.reduce_sum(piece),), (2 * piece,)

    specs = [tf.TensorSpec([2, inner, 1])]

    def run():
        return walk.walk(body, (tf.constant(0.0),), specs)

    for walked in (run, tf.function(run)):
        (total,), (doubled,) = walked()
        np.testing.assert_array_equal(doubled, 2 * x.numpy())
        assert total == x.numpy().sum()


@pytest.mark.parametrize(("number", "wanted", "rows"), [(224, 10, 8), (223, 10, 10), (3, 10, 3)])
def test_blocks_divide_the_grid_where_they_can(number, wanted, rows):
    assert blocks.choose((number, 7), number * 7, 1, size=wanted * 7).rows == rows
