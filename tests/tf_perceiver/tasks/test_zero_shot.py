"""Zero-shot accuracies against plain definitions, the choice of the bias, the loss, the answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.records import DatasetInfo, pack_floats
from tf_perceiver import tasks
from tf_perceiver.model import prototypes
from tf_perceiver.tasks import stacking

LABELS = ("ant", "bee", "cat", "dog")
VECTORS = np.array([[3, 0, 0], [0, 1, 0], [0, 0, 2], [1, 1, 0]], np.float32)
INFO = DatasetInfo(
    "toy", {}, LABELS, {},
    properties={"word_vectors": pack_floats(VECTORS), "unseen": ["bee", "dog"], "stage": 1},
)  # fmt: skip


def task(info=INFO, **fields):
    return tasks.build({"name": "zero_shot", **fields}, info)


def changed(**properties):
    return DatasetInfo("toy", {}, LABELS, {}, properties=INFO.properties | properties)


def plain(distances, labels, seen, bias):
    """The benchmark's numbers, example by example and class by class."""
    classes = range(len(seen))

    def nearest(row, allowed, added):
        best = None
        for c in allowed:
            distance = row[c] + (added if seen[c] else 0.0)
            if best is None or distance < best[0]:
                best = (distance, c)
        return best[1]

    def mean(chosen, allowed, added):
        recalls = []
        for c in chosen:
            mine = [row for row, label in zip(distances, labels, strict=True) if label == c]
            if mine:
                hits = sum(nearest(row, allowed, added) == c for row in mine)
                recalls.append(hits / len(mine))
        return sum(recalls) / len(recalls) if recalls else math.nan

    unseen = [c for c in classes if not seen[c]]
    s = mean([c for c in classes if seen[c]], classes, bias)
    u = mean(unseen, classes, bias)
    harmonic = 0.0 if s + u == 0 else 2 * s * u / (s + u)
    return [s, u, harmonic, mean(unseen, unseen, 0.0)]


@st.composite
def cases(draw):
    """Distances on a coarse grid, so that many are equal, also under a bias of the same grid."""
    classes, examples = draw(st.integers(2, 6)), draw(st.integers(1, 25))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    seen = np.arange(classes) < draw(st.integers(1, classes - 1))
    distances = random.integers(0, 5, (examples, classes)) / 4
    return distances, random.integers(0, classes, examples), random.permutation(seen)


@settings(max_examples=200)
@given(cases(), st.sampled_from([0.0, 0.25, 0.2, 0.5, 3.0]))
def test_the_numbers_are_those_of_the_plain_definition(case, bias):
    found = stacking.accuracies(*case, bias)
    names = ("seen_accuracy", "unseen_accuracy", "harmonic_mean", "zsl_accuracy")
    np.testing.assert_allclose([found[n] for n in names], plain(*case, bias), rtol=0, atol=1e-9)


@settings(max_examples=60)
@given(cases())
def test_the_bias_is_the_first_of_the_best(case):
    biases = np.linspace(0, 3, 16)
    means = [plain(*case, bias)[2] for bias in biases]
    best, value = 0, -1.0
    for i, mean in enumerate(means):
        if not math.isnan(mean) and mean > value + 1e-12:
            best, value = i, mean
    assert stacking.chosen_bias(*case, biases) == biases[best]


def test_by_hand():
    seen = np.array([True, False, True, False])
    distances = np.array([[0.1, 0.3, 0.9, 0.8], [0.5, 0.5, 0.5, 0.5], [0.2, 0.5, 0.9, 0.3]])
    labels = np.array([0, 3, 1])
    assert stacking.answers(distances, seen, 0.0).tolist() == [0, 0, 0]
    assert stacking.answers(distances, seen, 0.15).tolist() == [0, 1, 3]
    found = stacking.accuracies(distances, np.array([0, 1, 3]), seen, 0.15)
    assert list(found.values()) == [1, 1, 1, 1]
    # Of equals the first: 1 for the second example, which is of 3; 3 for the third, of 1.
    assert stacking.accuracies(distances, labels, seen, 0.0)["zsl_accuracy"] == 0


def test_a_split_of_one_kind_has_no_number_of_the_other():
    seen = np.array([True, False])
    found = stacking.accuracies(np.array([[0.0, 1.0]]), np.array([0]), seen, 0.0)
    assert found["seen_accuracy"] == 1
    assert math.isnan(found["unseen_accuracy"])
    assert math.isnan(found["zsl_accuracy"])
    assert stacking.chosen_bias(np.array([[0.0, 1.0]]), np.array([0]), seen, [0.5, 1.0]) == 0.5


def test_evaluation_chooses_a_bias_or_takes_the_configs():
    kept = {
        "distances": np.float32([[1.0, 1.5, 9, 9], [1.0, 1.25, 9, 9], [9, 9, 1, 9]]),
        "labels": np.array([0, 1, 2]),
    }
    # From 0.25 on the second is right, from 0.5 on the first is wrong; equals go to the first.
    assert task(biases=(0.0, 1.0, 11)).whole(kept)["bias"] == pytest.approx(0.3)
    found = task(bias=0.0).whole(kept)
    assert (found["bias"], found["seen_accuracy"], found["unseen_accuracy"]) == (0, 1, 0)
    assert task(changed(stage=2), bias=0.4).whole(kept)["harmonic_mean"] == 1


def test_training_looks_at_seen_classes_alone_and_evaluation_at_all():
    outputs = tf.constant([[-1.0, -0.5, -2.0, -0.1], [-1.0, -0.5, -2.0, -0.1]])
    batch = {"label": tf.one_hot([0, 2], 4)}
    among_seen = math.log(math.exp(-1) + math.exp(-2))
    np.testing.assert_allclose(
        task().loss(outputs, batch, True), [1 + among_seen, 2 + among_seen], rtol=1e-6
    )
    everything = math.log(sum(math.exp(x) for x in (-1, -0.5, -2, -0.1)))
    np.testing.assert_allclose(
        task().loss(outputs, batch, False), [1 + everything, 2 + everything], rtol=1e-6
    )
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = tf.reduce_sum(task().loss(outputs, batch, True))
    gradient = tape.gradient(loss, outputs).numpy()
    assert not gradient[:, [1, 3]].any()
    assert np.isfinite(gradient).all()


def test_answers_are_names_with_probabilities_under_the_bias():
    outputs = tf.constant([[-1.0, -1.2, -3.0, -4.0]])
    assert task().answers(outputs)["label"].numpy().tolist() == [b"ant"]
    found = task(bias=0.5).answers(outputs)
    assert found["label"].numpy().tolist() == [b"bee"]
    scores = np.exp([-1.5, -1.2, -3.5, -4.0])
    np.testing.assert_allclose(found["probabilities"][0], scores / scores.sum(), rtol=1e-6)
    assert float(found["score"][0]) == pytest.approx(scores[1] / scores.sum())


def test_outputs_are_distances_to_word_vectors_of_length_one():
    points = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    unit = task().vectors
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1)
    np.testing.assert_allclose(unit[3], [0.5**0.5, 0.5**0.5, 0])
    expected = np.linalg.norm(points[:, None] - unit[None], axis=-1)
    np.testing.assert_allclose(prototypes.distances(points, unit), expected, rtol=1e-5)
    at_a_prototype = tf.constant(unit[:1], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(at_a_prototype)
        found = prototypes.distances(at_a_prototype, unit)
    assert float(found[0, 0]) < 1e-3
    assert np.isfinite(tape.gradient(found, at_a_prototype)).all()


@pytest.mark.parametrize(
    ("info", "fields", "message"),
    [
        (INFO, {"scale": 0.0}, "config.task.scale=0.0 must be greater than 0"),
        (INFO, {"biases": (1.0, 0.0, 3)}, r"config.task.biases=\(1.0, 0.0, 3\) must be \(lowest"),
        (INFO, {"biases": (0.0, 1.0, 0)}, "must be .lowest, highest, how many"),
        (changed(stage=2), {}, 'set it to the "bias" that tf_perceiver.evaluate says of stage 1'),
        (changed(unseen=[]), {}, "has no unseen classes"),
        (changed(unseen=list(LABELS)), {}, "has no seen classes"),
        (changed(word_vectors=pack_floats(VECTORS[:3])), {}, "3 word vectors for 4 classes"),
        (DatasetInfo("bare", {}, LABELS, {}), {}, "'bare' has no word vectors of its classes"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_named(info, fields, message):
    with pytest.raises(ValueError, match=message):
        task(info, **fields)
