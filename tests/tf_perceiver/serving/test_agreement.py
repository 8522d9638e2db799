"""Differences are in units of the largest number; roundings are what last bits make."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_perceiver.serving import agreement


def test_a_difference_is_relative_to_the_largest_number():
    expected = {"flow": tf.constant([0.5, -32.0]), "few": tf.constant([0.25]), "n": tf.constant(3)}
    answered = {"flow": tf.constant([0.5, -31.0]), "few": tf.constant([0.375]), "n": 4}
    assert agreement.difference(answered, expected) == 0.125
    answered["few"] = tf.constant([0.25])
    assert agreement.difference(answered, expected) == 1 / 32
    answered["few"] = tf.constant([np.nan])
    assert np.isnan(agreement.difference(answered, expected))


def test_roundings_are_what_a_last_bit_makes():
    """A model that takes 1 off what is nearly 1 answers by the last bits alone."""

    def answers(batch):
        return {"y": (batch["x"] - 1) * tf.cast(batch["times"], tf.float32)}

    batch = {"x": tf.constant([1.0]), "times": tf.constant([1000])}
    assert agreement.rounding(answers, batch, answers(batch)) == 1000 * 2.0**-23
