"""Schedules, sharing plans, and the trunk as a chain of its layers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_perceiver.model import structured
from tf_perceiver.model.byte_array import ByteArray, Segment
from tf_perceiver.model.encoder import Encoder, Run, SharingPlan, schedule


def make(**fields):
    return Encoder(
        5,
        **{
            "num_latents": 3,
            "latent_channels": 8,
            "cross_attends": 3,
            "self_attends_per_block": 2,
            "self_heads": 2,
            **fields,
        },
    )


def test_interleaved_gives_the_first_blocks_a_cross_attend_each():
    assert schedule(2, 3, "interleaved") == [
        ("cross", 0),
        ("block", 0),
        ("cross", 1),
        ("block", 1),
        ("block", 2),
    ]


def test_at_start_reads_everything_first():
    assert schedule(2, 1, "at_start") == [("cross", 0), ("cross", 1), ("block", 0)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2, "interleaved"), "3 cross-attends can't be interleaved with 2 blocks"),
        ((0, 2, "at_start"), "cross_attends=0"),
        ((1, 1, "end"), "arrangement='end'"),
    ],
)
def test_impossible_schedules_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        schedule(*arguments)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("none", SharingPlan((0, 1, 2), (0, 1, 2))),
        ("paper", SharingPlan((0, 1, 1), (0, 0, 0))),
        ("all", SharingPlan((0, 0, 0), (0, 0, 0))),
        ({"cross": [0, 1, 0], "blocks": [0, 1, 1]}, SharingPlan((0, 1, 0), (0, 1, 1))),
    ],
)
def test_plans_by_name_and_by_list(plan, expected):
    assert SharingPlan.named(plan, 3, 3) == expected


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("papre", "'papre' is none of"),
        ({"cross": [0, 1], "blocks": [0, 0, 0]}, "lists 2 cross-attends and 3 blocks"),
        ({"cross": [0, 2, 1], "blocks": [0, 0, 0]}, "in order of first use"),
    ],
)
def test_impossible_plans_are_named(plan, message):
    with pytest.raises(ValueError, match=message):
        SharingPlan.named(plan, 3, 3)


def test_unknown_attention_is_named():
    with pytest.raises(ValueError, match="attention='fast'"):
        make(attention="fast")


@pytest.mark.parametrize("arrangement", ["interleaved", "at_start"])
@pytest.mark.parametrize("attention", ["plain", "structured"])
def test_the_trunk_is_the_chain_of_its_layers(arrangement, attention, monkeypatch):
    if attention == "structured":
        monkeypatch.setattr(structured, "pays", lambda *_: True)
    plan = {"cross": [0, 1, 0], "blocks": [0, 1, 1]}
    tf.keras.mixed_precision.set_global_policy("float64")  # In which roundings tell nothing.
    try:
        encoder = make(sharing=plan, arrangement=arrangement, attention=attention)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    content = np.random.default_rng(0).normal(size=(2, 40, 2))
    positions = np.random.default_rng(1).normal(size=(40, 3))
    inputs = ByteArray((Segment(tf.constant(content), tf.constant(positions)),))
    dense = np.concatenate([content, np.broadcast_to(positions, (2, 40, 3))], -1)

    def chain():
        z = encoder.start(2)
        for kind, i in schedule(3, 3, arrangement):
            if kind == "cross":
                z = encoder.cross[plan["cross"][i]](z, dense)
            else:
                for layer in encoder.blocks[plan["blocks"][i]]:
                    z = layer(z)
        return z

    def gradients(trunk):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(trunk()))
        return tape.gradient(loss, encoder.trainable_variables)

    expected = chain()
    for training in (False, True):
        found = encoder(inputs, training=training)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    ours, theirs = gradients(lambda: encoder(inputs, training=True)), gradients(chain)
    largest = max(float(tf.reduce_max(tf.abs(slope))) for slope in theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11 * largest)


def test_alike_blocks_in_a_row_are_one_call():
    encoder = make(sharing={"cross": [0, 1, 0], "blocks": [0, 1, 1]}, arrangement="at_start")
    both = (0, 1)
    reads = [Run("cross", 0), Run("cross", 1), Run("cross", 0)]
    assert encoder._runs(apart=False) == [*reads, Run("block", 0, both), Run("block", 1, both, 2)]
    layers = [Run("block", block, (layer,)) for block in (0, 1, 1) for layer in both]
    assert encoder._runs(apart=True) == [*reads, *layers]
    # What is between them keeps them apart.
    interleaved = make(sharing="all", cross_attends=2)._runs(apart=False)
    assert interleaved == [Run("cross", 0), Run("block", 0, both)] * 2


def test_shared_weights_are_one_variable():
    encoder = make(sharing="paper")
    assert (len(encoder.cross), len(encoder.blocks)) == (2, 1)
    assert len({id(v) for v in encoder.trainable_variables}) == len(encoder.trainable_variables)


@pytest.mark.parametrize("training", [True, False])
def test_recomputation_changes_neither_outputs_nor_gradients(training):
    encoders = [make(sharing="paper"), make(sharing="paper", recompute=True)]
    encoders[1].set_weights(encoders[0].get_weights())
    content = tf.random.stateless_normal([2, 40, 5], [0, 1])

    def run(encoder):
        with tf.GradientTape() as tape:
            z = encoder(ByteArray((Segment(content, None),)), training=training)
            loss = tf.reduce_sum(tf.square(z))
        return z, tape.gradient(loss, encoder.trainable_variables)

    expected, recomputed = (tf.nest.flatten(tf.function(run)(encoder)) for encoder in encoders)
    largest = max(float(tf.reduce_max(tf.abs(theirs))) for theirs in expected)
    for ours, theirs in zip(recomputed, expected, strict=True):
        # What is summed and comes to nothing has the rounding errors of its summands.
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6 * largest)
