"""The colour wheel's colours, and the figure of pairs."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tf_perceiver.report import flow_pictures, style


@pytest.mark.parametrize(
    ("motion", "colour"),
    [
        ((0, 0), (255, 255, 255)),
        ((1, 0), (255, 0, 0)),  # Right is red, down yellow, left cyan, up blue to violet.
        ((0, 1), (255, 229, 0)),
        ((-1, 0), (0, 209, 255)),
        ((0, -1), (88, 0, 255)),
        ((0.5, 0), (255, 127, 127)),
        ((2, 0), (191, 0, 0)),  # Longer than the largest: darker.
    ],
)
def test_directions_have_the_usual_colours(motion, colour):
    found = flow_pictures.colours(np.array([[motion]], float), largest=1.0)[0, 0]
    np.testing.assert_allclose(found, colour, atol=3)


def test_the_largest_gets_the_full_colour_and_unknown_is_black():
    flow = np.array([[(8.0, 0), (4.0, 0), (100.0, 0)]])
    found = flow_pictures.colours(flow, np.array([[True, True, False]]))
    np.testing.assert_array_equal(found[0, 0], flow_pictures.colours(flow[:, :1])[0, 0])
    assert found[0, 1, 1] > 100
    np.testing.assert_array_equal(found[0, 2], 0)


def test_neighbouring_directions_have_neighbouring_colours():
    angles = np.linspace(0, 2 * np.pi, 721)[:-1]
    flow = np.stack([np.cos(angles), np.sin(angles)], -1)[None]
    ring = flow_pictures.colours(flow, largest=1.0)[0].astype(int)
    steps = np.abs(np.diff(ring, axis=0)).max(1)
    assert np.percentile(steps, 99) <= 12
    assert len(np.unique(ring, axis=0)) > 300
    wheel = flow_pictures.wheel(51)
    np.testing.assert_array_equal(wheel[0, 0], 255)
    np.testing.assert_array_equal(wheel[25, 25], 255)
    np.testing.assert_allclose(wheel[25, 50], (255, 0, 0), atol=3)


def test_a_row_is_drawn_of_every_pair():
    random = np.random.default_rng(0)
    examples = [
        flow_pictures.Example(
            random.random((2, 20, 30, 3)), random.normal(size=(20, 30, 2)),
            random.normal(size=(20, 30, 2)), random.random((20, 30)) < 0.9,
        )
        for _ in range(3)
    ]  # fmt: skip
    error = examples[0].error
    assert np.isnan(error[~examples[0].valid]).all()
    one, three = (
        Image.open(io.BytesIO(style.png(flow_pictures.draw(chosen))))
        for chosen in (examples[:1], examples)
    )
    assert one.width == three.width
    assert 2.3 < three.height / one.height < 3
    assert np.asarray(three.convert("L"))[-200:].std() > 30
    legend = np.asarray(Image.open(io.BytesIO(style.png(flow_pictures.draw_wheel()))))
    assert legend[..., :3].std() > 50
