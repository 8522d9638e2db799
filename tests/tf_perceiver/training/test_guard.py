"""The guard's counts and words, and where a rollback goes."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tf_perceiver.training.checkpoint import Checkpoints, manifests
from tf_perceiver.training.guard import LOSS, Diverged, Guard, Trouble

NAMES = ("a.kernel", "a.bias", "b.kernel", "b.bias")


def record(guard, steps):
    """One loop: for each step from 1 on the names that aren't finite."""
    guard.begin_loop()
    for step, names in steps.items():
        flags = [name in names for name in guard.names]
        guard.record(tf.constant(not names), tf.constant(flags), tf.constant(step, tf.int64))


def test_good_steps_are_no_trouble():
    guard = Guard(NAMES)
    record(guard, {1: (), 2: ()})
    assert guard.trouble() is None
    assert int(guard.skipped) == 0


def test_the_last_bad_step_is_described_and_all_are_counted():
    guard = Guard(NAMES)
    record(guard, {1: (), 2: NAMES, 3: (), 4: ("a.bias",), 5: ()})
    assert guard.trouble() == Trouble(4, 2, ("a.bias",))
    assert str(guard.trouble()) == (
        "2 steps up to step 4 not applied: the gradient of a.bias not finite"
    )
    record(guard, {6: (), 7: (LOSS, *NAMES)})
    assert str(guard.trouble()) == (
        "step 7 not applied: the loss and the gradient of a.kernel, a.bias, b.kernel and 1 more "
        "not finite"
    )
    assert int(guard.skipped) == 3


def test_so_many_in_a_row_are_too_many_wherever_the_loops_end():
    guard = Guard(NAMES, patience=3)
    record(guard, {5: (LOSS,), 6: (LOSS,), 7: (), 8: (LOSS,), 9: (LOSS,)})
    assert guard.trouble().good_step is None
    record(guard, {10: (LOSS,), 11: (LOSS,), 12: ()})
    assert guard.trouble().good_step == 7
    record(guard, {13: (LOSS,)})
    assert guard.trouble().good_step is None


@pytest.mark.parametrize("fields", [{"patience": 0}, {"rollbacks": -1}])
def test_impossible_settings_are_refused(fields):
    with pytest.raises(ValueError, match=r"config.train.guard: patience="):
        Guard(NAMES, **fields)


class Run:
    """A weight that counts the steps, saved every ten; without a guard of its own."""

    def __init__(self, directory, saved, rollbacks=9):
        self.guard = Guard(NAMES, patience=2, rollbacks=rollbacks)
        self.weight = tf.Variable(0.0)
        objects = {"weights": {"weight": self.weight}, "guard": self.guard.saved}
        self.checkpoints = Checkpoints(directory, objects)
        for step in saved:
            self.weight.assign(step)
            self.checkpoints.save(step)

    def back_from(self, good_step):
        self.guard.skipped.assign_add(2)
        self.guard.streak.assign(2)
        trouble = Trouble(good_step + 2, 2, (LOSS,), good_step)
        return self.guard.roll_back(trouble, self.checkpoints)

    @property
    def steps(self):
        return [manifest.step for manifest in manifests(self.checkpoints.directory)]


def test_it_goes_back_to_the_newest_from_before_the_trouble_with_another_salt(tmp_path):
    run = Run(tmp_path, [10, 20, 30])
    assert run.back_from(good_step=29) == 20
    assert float(run.weight) == 20.0
    assert run.steps == [20, 10]
    counts = (int(run.guard.salt), int(run.guard.skipped), int(run.guard.streak))
    assert counts == (1, 2, 0)


def test_a_checkpoint_that_led_nowhere_is_not_taken_again(tmp_path):
    run = Run(tmp_path, [10, 20])
    assert run.back_from(good_step=25) == 20
    assert run.back_from(good_step=21) == 20  # One step could be applied.
    assert run.back_from(good_step=20) == 10
    assert run.back_from(good_step=10) is None
    assert int(run.guard.salt) == 4


def test_without_a_checkpoint_it_stays_and_takes_other_batches(tmp_path):
    run = Run(tmp_path, [])
    assert run.back_from(good_step=3) is None
    assert int(run.guard.salt) == 1


def test_it_stops_with_the_reason(tmp_path):
    run = Run(tmp_path, [10], rollbacks=1)
    run.back_from(good_step=11)
    with pytest.raises(Diverged, match="step 14 not applied: the loss not finite; .*1 times"):
        run.back_from(good_step=12)
