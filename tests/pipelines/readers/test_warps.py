"""Synthetic pairs: the flow is where things go, hidden is what the second frame doesn't show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipelines.readers import Rejected, warps


def smooth_picture(height: int, width: int) -> np.ndarray:
    """Colours that change slowly, so that interpolation is all but exact."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 7 + y / 11), np.cos(x / 9 - y / 6), np.sin(x / 13) * np.cos(y / 8)]
    return np.rint(127.5 + 120 * np.stack(waves, -1)).astype(np.uint8)


PHOTOGRAPH = smooth_picture(80, 110)


def drawn(seed: int, **changed) -> warps.Pair:
    return warps.draw(
        PHOTOGRAPH, "p.jpg", **{"max_side": 110, "motion": 6.0, "seed": seed, **changed}
    )


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_what_is_not_hidden_is_found_where_the_flow_says(seed):
    pair = drawn(seed)
    height, width = pair.hidden.shape
    assert (height, width) == (80 - 12, 110 - 12)
    y, x = np.mgrid[:height, :width]
    target = np.stack([y + pair.flow[..., 1], x + pair.flow[..., 0]])
    found = np.stack(
        [ndimage.map_coordinates(pair.second[..., c], target, float, order=1) for c in range(3)], -1
    )
    error = np.abs(found - pair.first).max(-1)
    shown = ~pair.hidden
    assert shown.mean() > 0.5
    # At the very edge of an object the four neighbours belong to two surfaces.
    assert (error[shown] <= 4).mean() > 0.95
    assert np.median(error[shown]) <= 1.5


def test_a_known_motion_has_its_known_flow():
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    centre = np.array([10.0, 10.0])
    motion = warps.Motion(quarter, centre, np.array([2.0, 0.0]))
    picture = smooth_picture(21, 21)
    pair = warps.render(picture, 0, motion, [])
    # Where (x, y) of the second frame was: (10 - (y - 10) + 2, x - 10 + 10).
    np.testing.assert_allclose(motion.before(np.array([13.0, 11.0])), [11, 13])
    np.testing.assert_array_equal(pair.second[11, 13], picture[13, 11])
    np.testing.assert_allclose(pair.flow[13, 11], [2, -2])
    # (20, 0) comes from (22, 20), outside; (0, 0) goes to (0, 22), outside too.
    np.testing.assert_allclose(pair.flow[0, 0], [0, 22])
    assert pair.hidden[0, 0]
    assert not pair.hidden[13, 11]


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_after_is_the_inverse_of_before(seed):
    random = np.random.default_rng(seed)
    motion = warps._motion(random, np.array([40.0, 30.0]), 50.0, 10.0, bent=True)
    places = random.uniform(-10, 90, (100, 2))
    np.testing.assert_allclose(motion.before(motion.after(places)), places, atol=1e-6)


def test_a_piece_moves_and_hides():
    still = warps.Motion(np.eye(2), np.zeros(2), np.zeros(2))
    right = warps.Motion(np.eye(2), np.zeros(2), np.array([-5.0, 0.0]))  # Was 5 px further left.
    flat = (np.zeros(1), np.zeros(1))
    piece = warps.Piece(right, np.array([20.0, 20.0]), 6.0, flat, np.array([13.0, 4.0]))
    picture = smooth_picture(40, 50)
    pair = warps.render(picture, 0, still, [piece])
    y, x = np.mgrid[:40, :50]
    disc = np.hypot(x - 20, y - 20) < 6
    np.testing.assert_array_equal(pair.flow, np.where(disc[..., None], (5.0, 0.0), 0))
    # Hidden is what the disc covers in its new place and didn't before.
    np.testing.assert_array_equal(pair.hidden, (np.hypot(x - 25, y - 20) < 6) & ~disc)
    np.testing.assert_array_equal(pair.first[20, 20], picture[24, 33])
    np.testing.assert_array_equal(pair.second[20, 25], picture[24, 33])
    np.testing.assert_array_equal(pair.second[20, 16], picture[20, 16])


def test_the_seed_decides():
    for name in ("first", "second", "flow", "hidden"):
        np.testing.assert_array_equal(getattr(drawn(3), name), getattr(drawn(3), name))
    assert (drawn(3).flow != drawn(4).flow).any()


def test_motions_have_about_their_size_and_every_part():
    flows = [drawn(seed).flow for seed in range(40)]
    largest = np.array([np.hypot(*np.moveaxis(flow, -1, 0)).max() for flow in flows])
    assert 3 < np.median(largest) < 9
    assert largest.max() < 18
    middle = np.stack([flow[30:38, 45:53].mean((0, 1)) for flow in flows])
    assert np.std(middle) > 0.5  # Translations.
    divergence = np.array([np.polyfit(np.arange(98), f[34, :, 0], 1)[0] for f in flows])
    assert np.std(divergence) > 0.005  # Scales.


def test_large_photographs_are_reduced():
    pair = drawn(0, max_side=88)
    assert pair.flow.shape == (64 - 12, 88 - 12, 2)


@pytest.mark.parametrize("shape", [(40, 200, 3), (60, 1500, 3)])
def test_too_small_a_photograph_is_rejected(shape):
    with pytest.raises(Rejected, match="p.jpg has") as caught:
        warps.draw(np.zeros(shape, np.uint8), "p.jpg", max_side=200, motion=4.0, seed=0)
    assert caught.value.reason == "too-small"
