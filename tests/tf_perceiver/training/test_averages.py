"""Averages of the weights: their arithmetic, and that an evaluation leaves training as it was."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_perceiver.training.averages import Averages


def weights():
    learned = tf.Variable([1.0, 2.0], name="learned")
    return {"learned": learned, "mean": tf.Variable([5.0], trainable=False, name="mean")}


def test_they_follow_the_weights_with_a_decay_that_grows_to_its_value():
    made = weights()
    averages = Averages(made, 0.5)
    expected = made["learned"].numpy().astype(np.float64)
    for update in range(1, 12):
        made["learned"].assign_add([1.0, -3.0])
        averages.update(tf.constant(update), tf.constant(True))
        decay = min(0.5, (1 + update) / (10 + update))  # 0.5 from the eighth on.
        expected = decay * expected + (1 - decay) * made["learned"].numpy()
        np.testing.assert_allclose(averages.variables["learned"], expected, rtol=1e-6)


def test_an_update_that_was_not_applied_does_not_move_them():
    made = weights()
    averages = Averages(made, 0.9)
    made["learned"].assign([7.0, 8.0])
    averages.update(tf.constant(3), tf.constant(False))
    np.testing.assert_array_equal(averages.variables["learned"], [1.0, 2.0])
    averages.start()
    np.testing.assert_array_equal(averages.variables["learned"], [7.0, 8.0])


def test_the_model_has_them_meanwhile_and_its_own_weights_afterwards():
    made = weights()
    averages = Averages(made, 0.9)
    odd = np.float32([0.1, 1e-30])  # Adding and subtracting the average would lose it.
    made["learned"].assign(odd)

    def interrupted():
        with averages.in_place():
            np.testing.assert_array_equal(made["learned"], [1.0, 2.0])
            np.testing.assert_array_equal(made["mean"], [5.0])
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        interrupted()
    np.testing.assert_array_equal(made["learned"], odd)


def test_0_is_off_and_other_decays_are_refused():
    averages = Averages(weights(), 0.0)
    averages.update(tf.constant(1), tf.constant(True))
    assert averages.variables == {}
    with pytest.raises(ValueError, match=r"ema_decay=1.0 is not in \[0, 1\)"):
        Averages(weights(), 1.0)
