"""The pictures of examples: captions, colours and maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_perceiver.report import pictures, style
from tf_perceiver.report.pictures import Sample

RNG = np.random.default_rng(0)


def sample(array: np.ndarray, truth: str, answer: str) -> Sample:
    return Sample(array, {"input": array}, truth, answer, 0.912, 0.04)


def captions(axes) -> list[tuple[str, str]]:
    return [(text.get_text(), text.get_color()) for text in axes.texts]


def test_right_and_wrong_differ_by_mark_and_colour():
    image = RNG.random((4, 4, 3))
    figure = pictures.samples([sample(image, "cat", "cat"), sample(image, "cat", "dog")])
    right, wrong = figure.axes
    assert captions(right) == [("\N{CHECK MARK} cat (91 %)", style.BLUE)]
    assert captions(wrong) == [
        ("\N{BALLOT X} dog (91 %)", style.VERMILION),
        ("is cat (4 %)", style.INK),
    ]


def test_images_are_drawn_as_they_are():
    image, grey = RNG.random((4, 6, 3)), RNG.random((5, 5, 1))
    axes = pictures.samples([sample(image, "a", "a"), sample(grey, "a", "a")]).axes
    np.testing.assert_array_equal(axes[0].images[0].get_array(), image)
    np.testing.assert_array_equal(axes[1].images[0].get_array(), grey[..., 0])
    assert axes[1].images[0].get_clim() == (0, 1)  # Not stretched to the picture's own range.


def test_clouds_are_drawn_whole_and_in_proportion():
    points = RNG.normal(size=(50, 3)).astype(np.float32) * (1, 2, 3)
    axes = pictures.samples([sample(points, "a", "a")]).axes[0]
    drawn = np.stack(axes.collections[0]._offsets3d, axis=1)
    np.testing.assert_allclose(drawn, points)
    sides = np.diff([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()]).ravel()
    np.testing.assert_allclose(sides, sides[0], rtol=1e-5)
    assert (
        points.min(axis=0) >= [axes.get_xlim()[0], axes.get_ylim()[0], axes.get_zlim()[0]]
    ).all()


def test_a_cloud_of_one_place_can_be_drawn():
    figure = pictures.samples([sample(np.zeros((20, 3), np.float32), "a", "a")])
    assert style.png(figure).startswith(b"\x89PNG")


@settings(max_examples=15)
@given(st.integers(1, 13), st.integers(1, 7))
def test_cells_of_a_grid_do_not_overlap(count, columns):
    chosen = [sample(np.zeros((2, 2, 1)), "a", "b")] * count
    figure = pictures.samples(chosen, columns)
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == count
    for i, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_captions_stay_inside_of_the_figure_and_apart():
    long = "a class with a name longer than any cell"
    figure = pictures.samples([sample(np.zeros((2, 2, 1)), long, long + "!")] * 7)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
    assert all(box.y0 >= 0 and box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_image_attention_lies_on_the_input_s_grid():
    image = RNG.random((8, 12, 3))
    weights = RNG.random((2, 24)).astype(np.float32)
    weights /= weights.sum(axis=1, keepdims=True)
    axes = pictures.attention([image], [weights], ["all latents", "latent 3"], (4, 6)).axes
    assert [one.get_title() for one in axes] == ["input", "all latents", "latent 3"]
    shown = axes[2].images[0]
    np.testing.assert_array_equal(shown.get_array(), weights[1].reshape(4, 6))
    np.testing.assert_allclose(shown.norm(weights[1].max() / 4), 0.5)
    assert shown.get_extent() == [0, 12, 8, 0]  # The picture's own proportions.
    assert captions(axes[2])[0][0] == f"max {weights[1].max() * 24:.3g} \N{MULTIPLICATION SIGN}"


def test_point_attention_colours_each_point_by_its_weight():
    points = RNG.normal(size=(30, 3)).astype(np.float32)
    weights = RNG.random((1, 30)).astype(np.float32)
    axes = pictures.attention([points], [weights], ["all latents"], None).axes[1]
    expected = np.sqrt(weights[0] / weights[0].max())
    np.testing.assert_allclose(axes.collections[0].get_array(), expected)


@pytest.mark.parametrize(
    ("label", "expected"),
    [("short", "short"), ("x" * 18, "x" * 18), ("x" * 19, "x" * 17 + "\N{HORIZONTAL ELLIPSIS}")],
)
def test_labels_are_cut_to_what_has_room(label, expected):
    assert style.shorten(label) == expected


def test_what_stands_below_a_picture_is_no_wider_than_its_cell():
    label = "Smoke detector, smoke alarm"
    figure = pictures.samples([sample(np.zeros((4, 4, 3)), label, label)] * 3)
    (text,) = figure.axes[0].texts
    assert text.get_text().endswith("\N{HORIZONTAL ELLIPSIS} (91 %)")
    width = text.get_window_extent(figure.canvas.get_renderer()).width / figure.dpi
    assert 1.2 < width < 1.75  # Inches.
