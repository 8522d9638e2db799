"""What the report gathers from a model over a split."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from pipelines import image
from tf_perceiver.report.answers import (
    Answers,
    answers,
    attention_maps,
    choose_latents,
    in_place,
    picture,
)

LABELS = ("a", "b", "c")
DATA = {"modality": "image", "image": {"mean": (0.5,), "std": (0.25,)}}


class Brightest:
    """Answers with the image's brightest pixel: its logits are the pixels, times ten."""

    def __call__(self, batch, training):
        assert training is False
        return 10.0 * tf.reshape(batch["image"], [-1, len(LABELS)])


def batch(pixels: list[list[float]], truths: list[int], weights: list[float]) -> dict:
    return {
        "image": tf.reshape(tf.constant(pixels), [-1, 1, 3, 1]),
        "label": tf.one_hot(truths, len(LABELS)),
        "weight": tf.constant(weights),
    }


A, B, C = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
FAINT_B = [0.0, 0.1, 0.0]


def test_every_example_is_counted_once_and_padding_never():
    batches = [batch([A, B, C], [0, 0, 2], [1, 1, 1]), batch([A, A], [1, 0], [1, 0])]
    found = answers(Brightest(), batches, DATA, LABELS)
    np.testing.assert_array_equal(found.confusion, [[1, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert found.examples == 4
    assert found.accuracy == 0.5


def test_samples_carry_names_and_probabilities():
    found = answers(Brightest(), [batch([A, B], [0, 0], [1, 1])], DATA, LABELS)
    (right,), (wrong,) = found.right, found.wrong
    probabilities = tf.nn.softmax([10.0, 0.0, 0.0]).numpy()
    assert (right.truth, right.answer, right.right) == ("a", "a", True)
    assert (wrong.truth, wrong.answer, wrong.right) == ("a", "b", False)
    assert right.score == right.truth_score == pytest.approx(probabilities[0])
    assert wrong.score == pytest.approx(probabilities[0])
    assert wrong.truth_score == pytest.approx(probabilities[1])
    np.testing.assert_array_equal(right.input["image"].ravel(), A)
    np.testing.assert_allclose(right.array.ravel(), [0.75, 0.5, 0.5])


def test_the_most_confident_mistakes_are_kept_in_order():
    faint = [[0.0, 0.05 * i, 0.0] for i in range(1, 20)]
    found = answers(Brightest(), [batch(faint, [0] * 19, [1] * 19)], DATA, LABELS, count=3)
    scores = [sample.score for sample in found.wrong]
    assert scores == sorted(scores, reverse=True)
    kept = sorted(float(sample.input["image"].max()) for sample in found.wrong)
    np.testing.assert_allclose(kept, [0.85, 0.9, 0.95])


def test_of_equal_mistakes_the_first_are_kept():
    pixels = [[0.0, 1.0, 0.001 * i] for i in range(3)]
    model = lambda batch, training: tf.constant([[0.0, 5.0, 0.0]] * 3)  # noqa: E731
    found = answers(model, [batch(pixels, [0] * 3, [1] * 3)], DATA, LABELS, count=2)
    blues = [float(sample.input["image"].ravel()[2]) for sample in found.wrong]
    assert blues == pytest.approx([0, 0.001])


def test_right_examples_are_of_as_many_classes_as_possible():
    batches = [batch([A] * 5, [0] * 5, [1] * 5), batch([C, B], [2, 1], [1, 1])]
    found = answers(Brightest(), batches, DATA, LABELS, count=4)
    assert [sample.truth for sample in found.right] == ["a", "a", "b", "c"]


def test_with_many_classes_the_right_examples_are_spread_over_them():
    labels = tuple(str(i) for i in range(101))
    examples = {
        "image": tf.reshape(tf.eye(101), [-1, 1, 101, 1]),
        "label": tf.eye(101),
        "weight": tf.ones(101),
    }
    model = lambda batch, training: 9 * tf.reshape(batch["image"], [-1, 101])  # noqa: E731
    found = answers(model, [examples], DATA, labels, count=5)
    assert [sample.truth for sample in found.right] == ["0", "25", "50", "75", "100"]


def test_an_empty_split_is_refused():
    with pytest.raises(ValueError, match="evaluation split is empty"):
        answers(Brightest(), [batch([A], [0], [0])], DATA, LABELS)


def test_most_confused_pairs_come_by_frequency():
    found = Answers(np.array([[50, 2, 0], [7, 9, 0], [0, 2, 1]]), [], [])
    assert found.most_confused(10) == [(1, 0, 7), (0, 1, 2), (2, 1, 2)]
    assert found.most_confused(1) == [(1, 0, 7)]


def test_picture_undoes_the_normalisation():
    pixels = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    data = {"modality": "image", "image": {"mean": mean, "std": std}}
    np.testing.assert_allclose(picture((pixels - mean) / std, data), pixels, atol=1e-6)
    # Bicubic resizing leaves [0, 1]; what people see doesn't.
    assert picture(np.full((1, 1, 3), 9.0), data).max() == 1.0


def test_permuted_pixels_and_their_attention_are_put_back():
    pixels = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    cfg = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "size": (4, 5), "permutation_seed": 3}
    order, data = image.permutation(cfg), {"modality": "image", "image": cfg}
    permuted = ((pixels - 0.5) / 0.25).reshape(20, 3)[order].reshape(4, 5, 3)
    np.testing.assert_allclose(picture(permuted, data), pixels, atol=1e-6)
    np.testing.assert_array_equal(in_place(np.arange(20)[order], data), np.arange(20))
    np.testing.assert_array_equal(in_place(np.arange(5), data), np.arange(5))  # Patches.
    np.testing.assert_array_equal(in_place(np.arange(20), {"modality": "points"}), np.arange(20))


def test_picture_leaves_points_alone():
    points = np.array([[-3.0, 0.0, 3.0]], np.float32)
    np.testing.assert_array_equal(picture(points, {"modality": "points"}), points)


class TwoHeads:
    """Its attention is the given [N, M], a little more in one head and less in the other."""

    def __init__(self, attention: np.ndarray):
        self.attention = attention
        self.sizes: list[int] = []

    def first_cross_attention(self, batch):
        self.sizes.append(len(batch["points"]))
        tilt = 0.5 * self.attention.min() * np.resize([1, -1], self.attention.shape)
        return np.stack([self.attention + tilt, self.attention - tilt])[None]

    def input_grid(self, batch):
        return None


def test_attention_maps_are_means_over_heads_and_latents():
    attention = np.random.default_rng(0).dirichlet(np.ones(8), size=5)
    model = TwoHeads(attention)
    inputs = [{"points": np.zeros((8, 3), np.float32)}] * 2
    maps, chosen, grid = attention_maps(model, inputs, latents=2)
    assert model.sizes == [1, 1]
    assert grid is None
    assert len(chosen) == 2
    for one in maps:
        np.testing.assert_allclose(one[0], attention.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(one[1:], attention[chosen], rtol=1e-5)


def test_latents_that_look_alike_are_not_both_chosen():
    attention = np.eye(4)[[0, 0, 0, 1, 1, 2]]
    chosen = choose_latents(attention, 3)
    assert sorted(attention[chosen].argmax(axis=1)) == [0, 1, 2]


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 99))
def test_chosen_latents_are_distinct_and_as_many_as_there_are(latents, count, seed):
    attention = np.random.default_rng(seed).dirichlet(np.ones(4), size=latents)
    chosen = choose_latents(attention, count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(latents, count)
    assert choose_latents(np.full((latents, 4), 0.25), count) == list(range(min(latents, count)))
