"""Fourier features against DeepMind's arrays and against the formula."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from tf_perceiver.model.positions import Fourier, linear_positions


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
    # A unit in the last place of the angle, 112 half turns, is 3e-5: JAX's float32 linspace rounds
    # some frequencies the other way than NumPy's.
    atol = 4e-5 if max(fields["max_resolution"]) > 100 else 2e-6
    np.testing.assert_allclose(fourier.grid(fields["index_dims"]), expected, atol=atol)


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
