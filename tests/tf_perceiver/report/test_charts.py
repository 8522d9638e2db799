"""The charts: what they draw, on numbers that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba

from tf_perceiver.report import charts, style


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_curves_draw_every_series_at_its_steps():
    steps = np.array([10, 20, 30])
    training = charts.Series("training", steps, np.array([2.0, np.nan, 1.0]))
    held_out = charts.Series("test", steps[2:], np.array([1.5]), held_out=True)
    axes = charts.curves([training, held_out], "loss").axes[0]
    first, second = axes.lines
    np.testing.assert_array_equal(first.get_xdata(), steps)
    np.testing.assert_array_equal(first.get_ydata(), [2.0, np.nan, 1.0])
    np.testing.assert_array_equal(second.get_ydata(), [1.5])
    assert second.get_marker() == "o"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "test"]
    assert axes.get_ylabel() == "loss"


def test_curves_leave_a_gap_where_training_diverged():
    values = np.array([1.0, np.inf, 3.0])
    axes = charts.curves([charts.Series("training", np.arange(3), values)], "loss").axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1.0, np.nan, 3.0])
    assert axes.get_legend() is None


def test_percent_curves_are_labelled_in_percent():
    figure = charts.curves(
        [charts.Series("a", np.arange(2), np.array([0.0, 1.0]))], "accuracy", percent=True
    )
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "100%" in labels


def test_small_confusion_matrix_has_row_percentages():
    counts = np.array([[8, 2, 0], [0, 0, 0], [1, 0, 999]])
    axes = charts.confusion_matrix(counts, ["cat", "dog", "$5 or $6"]).axes[0]
    assert texts(axes) == ["80", "20", "<1", "100"]
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares[0], [0.8, 0.2, 0.0])
    assert np.ma.getmaskarray(shares)[1].all()  # No example: no share, not 0 %.
    # A label with dollar signs isn't read as a formula.
    assert axes.get_yticklabels()[2].get_text() == r"\$5 or \$6"


def test_numbers_of_a_confusion_matrix_can_be_read_on_their_cells():
    axes = charts.confusion_matrix(np.array([[9, 1], [0, 10]]), ["a", "b"]).axes[0]
    for text in axes.texts:
        column, row = text.get_position()
        share = axes.images[0].get_array()[int(row), int(column)]
        background = axes.images[0].to_rgba(np.array([[share]]))[0, 0, :3].mean()
        ink = np.mean(to_rgba(text.get_color())[:3])
        assert abs(background - ink) > 0.4


@pytest.mark.parametrize(("classes", "labelled"), [(16, True), (60, True), (61, False)])
def test_larger_confusion_matrices_drop_numbers_then_labels(classes, labelled):
    counts = np.eye(classes, dtype=int)
    names = [f"class {i}" for i in range(classes)]
    axes = charts.confusion_matrix(counts, names).axes[0]
    assert not axes.texts
    assert (axes.get_yticklabels()[0].get_text() == "class 0") == labelled


def test_no_confusion_vanishes_among_a_thousand_classes():
    counts = 9 * np.eye(1001, dtype=int)
    counts[3, 700] = 1
    image = charts.confusion_matrix(counts, [str(i) for i in range(1001)]).axes[0].images[0]
    shown = image.get_array()
    assert len(shown) < 500
    block = -(-1001 // len(shown))
    assert shown[3 // block, 700 // block] == pytest.approx(0.1)
    assert shown[-1, -1] == 1.0
    assert image.get_extent() == [-0.5, 1000.5, 1000.5, -0.5]


def test_class_accuracy_is_ordered_and_leaves_empty_classes_out():
    counts = np.array([[5, 5, 0], [0, 10, 0], [0, 0, 0]])
    axes = charts.class_accuracy(counts, ["half", "all", "none"]).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [1.0, 0.5])
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["all  (10)", "half  (10)"]


def test_accuracy_of_many_classes_is_a_falling_line():
    rng = np.random.default_rng(0)
    counts = np.diag(rng.integers(0, 10, 200))
    counts[:, 0] += 5
    line = charts.class_accuracy(counts, [str(i) for i in range(200)]).axes[0].lines[0]
    assert len(line.get_ydata()) == 200
    assert (np.diff(line.get_ydata()) <= 0).all()


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_wilson_interval_holds_the_share(count, part):
    share = np.array([round(part * count) / count])
    low, high = charts.wilson_interval(share, np.array([count]))
    assert 0 <= low[0] <= share[0] + 1e-12
    assert share[0] - 1e-12 <= high[0] <= 1


def test_wilson_interval_has_the_textbook_values():
    # Newcombe (1998), table I: 81 of 263 and 15 of 148.
    low, high = charts.wilson_interval(np.array([81 / 263, 15 / 148]), np.array([263, 148]))
    np.testing.assert_allclose(low, [0.2553, 0.0624], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1605], atol=5e-5)


def test_png_is_the_same_twice_and_has_the_figure_s_size():
    from io import BytesIO

    from PIL import Image

    counts = np.eye(3, dtype=int)
    files = [style.png(charts.confusion_matrix(counts, "abc")) for _ in range(2)]
    assert files[0] == files[1]
    size = charts.confusion_matrix(counts, "abc").get_size_inches() * style.DPI
    assert Image.open(BytesIO(files[0])).size == tuple(size.astype(int))
