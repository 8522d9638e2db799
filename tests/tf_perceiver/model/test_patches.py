"""Patches by their definition, and there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_perceiver.model import patches

small = st.integers(1, 3)


@given(small, small, small, small, small, small)
def test_there_and_back(frames, height, width, channels, spatial, temporal):
    shape = (2, frames * temporal, height * spatial, width * spatial, channels)
    video = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    cut = patches.space_to_depth(video, spatial, temporal)
    first = video[1, :temporal, :spatial, :spatial].ravel()
    np.testing.assert_array_equal(cut[1, 0, 0, 0], first)
    np.testing.assert_array_equal(patches.depth_to_space(cut, spatial, temporal), video)


def test_pictures_have_no_time():
    image = np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)
    cut = patches.space_to_depth(image, 2)
    np.testing.assert_array_equal(cut[0, 1, 2], image[0, 2:4, 4:6].ravel())
    np.testing.assert_array_equal(patches.depth_to_space(cut, 2), image)


def test_what_does_not_divide_is_named():
    with pytest.raises(ValueError, match="3x4x5 can't be cut into patches of 2x2x2"):
        patches.space_to_depth(np.zeros((1, 3, 4, 5, 3)), 2, 2)
    with pytest.raises(ValueError, match="is neither"):
        patches.space_to_depth(np.zeros((1, 4, 4, 3)), 2, 2)
    with pytest.raises(ValueError, match="10 channels can't make patches of 2x2"):
        patches.depth_to_space(np.zeros((1, 4, 4, 10)), 2)
    with pytest.raises(ValueError, match="neither a picture nor a video"):
        patches.depth_to_space(np.zeros((1, 4, 4)), 2)
