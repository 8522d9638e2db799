"""Fourier features against DeepMind's arrays and against the formula."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tf_perceiver.model.positions import (
    Fourier,
    FourierGrid,
    GridPositions,
    LearnedPositions,
    cubic_interpolation,
    evenly_spaced,
    linear_positions,
    subsampled_positions,
)


@pytest.mark.parametrize("case", ["fourier_0", "fourier_1", "fourier_2", "fourier_3"])
def test_grids_equal_the_reference(case):
    golden = reference.Golden("units")
    fields = golden.meta["config"]["cases"][case]
    fourier = Fourier(
        fields["num_bands"],
        fields["max_resolution"],
        raw=fields["concat_pos"],
        sine_only=fields["sine_only"],
    )
    expected = golden[f"outputs/{case}"][0]
    assert fourier.channels == expected.shape[-1]
    # To the unit in the last place, the 112 half turns of the highest band included.
    np.testing.assert_allclose(fourier.grid(fields["index_dims"]), expected, atol=1.2e-7)


def test_linear_positions_equal_the_reference():
    expected = reference.Golden("units")["outputs/linear_positions_3_4"]
    np.testing.assert_allclose(linear_positions((3, 4)), expected.reshape(12, 2), atol=1e-7)


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.integers(1, 5),
    st.booleans(),
    st.booleans(),
)
def test_points_on_a_grid_get_the_grids_features(index_dims, bands, raw, sine_only):
    fourier = Fourier(bands, tuple(2.0 * n for n in index_dims), raw=raw, sine_only=sine_only)
    points = linear_positions(index_dims)[None]
    np.testing.assert_allclose(fourier.encode(points)[0], fourier.grid(index_dims), atol=1e-5)


@given(st.floats(-10, 10), st.floats(-500, 500), st.integers(2, 300))
def test_even_spacing_is_linspace_but_for_its_rounding(start, stop, count):
    spaced = evenly_spaced(start, stop, count)
    assert spaced.dtype == np.float32
    scale = max(abs(start), abs(stop), 1e-30)
    np.testing.assert_allclose(spaced, np.linspace(start, stop, count), atol=3e-7 * scale)
    assert spaced[-1] == np.float32(stop)


def test_subsampled_positions_never_reach_the_far_end():
    positions = subsampled_positions(np.array([0, 5, 11]), (3, 4)).numpy()
    np.testing.assert_allclose(positions, [[-1, -1], [-1 / 3, -0.5], [1 / 3, 0.5]], atol=1e-7)


def test_a_learned_table_is_read_row_by_row():
    table = LearnedPositions("pos", (2, 3), 4)
    assert table.table.name == "pos.table:0"
    np.testing.assert_array_equal(table.grid((2, 3)), table.table)
    assert 0.01 < np.std(table.table) < 0.03


def test_another_resolution_is_interpolated_axis_by_axis():
    positions = LearnedPositions("pos", (4, 6), 2)
    table = positions.table.numpy().reshape(4, 6, 2)
    expected = np.einsum(
        "yr,xc,rcd->yxd", cubic_interpolation(4, 8), cubic_interpolation(6, 5), table
    )
    np.testing.assert_allclose(positions.grid((8, 5)), expected.reshape(40, 2), atol=1e-6)
    only_columns = np.einsum("xc,rcd->rxd", cubic_interpolation(6, 7), table)
    np.testing.assert_allclose(positions.grid((4, 7)), only_columns.reshape(28, 2), atol=1e-6)
    with pytest.raises(ValueError, match="pos: a grid of 1 axes"):
        positions.grid((24,))


@given(st.integers(1, 20), st.integers(1, 20))
def test_interpolation_keeps_constants_and_the_same_size(old, new):
    weights = cubic_interpolation(old, new)
    np.testing.assert_allclose(weights.sum(1), np.ones(new), atol=1e-6)
    np.testing.assert_allclose(cubic_interpolation(new, new), np.eye(new), atol=1e-6)


def test_the_cubic_kernel_is_the_one_with_three_quarters():
    # Half-way between two of six samples: Keys' kernel at 0.5 and 1.5 with a = -0.75.
    np.testing.assert_allclose(
        cubic_interpolation(6, 3)[1], [0, -0.09375, 0.59375, 0.59375, -0.09375, 0], atol=1e-7
    )


def test_positions_are_projected_after_either_encoding():
    for fields in (
        {"bands": 2, "max_resolution": (4, 4)},
        {"kind": "learned", "index_dims": (2, 2), "channels": 3},
    ):
        positions = GridPositions("pre.image.pos", project=5, **fields)
        encoded = np.asarray(positions.encoding.grid((2, 2)))
        kernel, bias = positions.projection.kernel, positions.projection.bias
        assert kernel.name == "pre.image.pos_proj.kernel:0"
        bias.assign_add([1.0] * 5)
        np.testing.assert_allclose(positions.grid((2, 2)), encoded @ kernel + bias, atol=1e-6)
        assert positions.channels == 5


def test_channel_order_is_raw_then_sines_then_cosines():
    encoded = Fourier(2, (4, 8)).grid((2, 2))[1]  # Row -1, column +1.
    frequencies = np.array([[1, 2], [1, 4]])
    angles = np.pi * np.array([-1, 1])[:, None] * frequencies
    expected = np.concatenate([[-1, 1], np.sin(angles).ravel(), np.cos(angles).ravel()])
    np.testing.assert_allclose(encoded, expected, atol=1e-5)


def test_errors_name_both_numbers():
    fourier = Fourier(2, (4, 4))
    with pytest.raises(ValueError, match="a grid of 3 axes"):
        fourier.grid((2, 2, 2))
    with pytest.raises(ValueError, match="positions have 3 axes, max_resolution has 2"):
        fourier.encode(np.zeros((1, 5, 3), np.float32))
    with pytest.raises(ValueError, match="positions.bands=0"):
        Fourier(0, (4,))
    with pytest.raises(ValueError, match="kind='sinusoid' is neither 'fourier' nor 'learned'"):
        GridPositions("pre.image.pos", kind="sinusoid")
    with pytest.raises(ValueError, match="pre.image.pos: positions of kind 'fourier': .*band"):
        GridPositions("pre.image.pos", band=3, max_resolution=(4, 4))


def test_a_grid_may_lie_where_samples_of_it_do():
    encoding, dims = Fourier(3, (4, 6)), (3, 4)
    sampled = encoding.encode(subsampled_positions(tf.range(12), dims))
    np.testing.assert_allclose(encoding.grid(dims, sampled=True), sampled, atol=1e-5)
    grid = FourierGrid(encoding, dims, sampled=True)
    np.testing.assert_allclose(grid.dense(), sampled, atol=1e-5)
    for axis, size in zip(grid.axes(), dims, strict=True):
        np.testing.assert_allclose(axis[:, 0], -1 + 2 * np.arange(size) / size, atol=1e-6)
    assert np.abs(encoding.grid(dims) - sampled).max() > 0.3
