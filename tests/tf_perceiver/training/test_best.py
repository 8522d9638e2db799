"""The best checkpoint: kept aside, whatever is deleted, and found again after a restart."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tf_perceiver.training.best import Best
from tf_perceiver.training.checkpoint import Checkpoints, manifests


class Run:
    """A weight that is the step, and evaluations of it."""

    def __init__(self, directory, metric):
        self.metric, self.rows, self.weight = metric, [], tf.Variable(0.0)
        self.checkpoints = Checkpoints(directory, {"weights": {"weight": self.weight}}, keep=1)
        self.restart(0)

    def evaluated(self, step, **metrics):
        self.weight.assign(step)
        self.checkpoints.save(step)
        self.rows.append({"step": step, **metrics})
        self.best.consider(step, metrics)

    def restart(self, step):
        self.rows = [row for row in self.rows if row["step"] <= step]
        self.best = Best(self.metric, self.checkpoints, self.rows)

    @property
    def steps(self):
        return [m.step for m in manifests(self.checkpoints.directory / "best")]


def test_the_first_of_the_highest_is_kept(tmp_path):
    run = Run(tmp_path, "accuracy")
    for step, accuracy in ((10, 0.5), (20, 0.7), (30, 0.6), (40, 0.7)):
        run.evaluated(step, accuracy=accuracy, loss=accuracy)
    assert run.steps == [20]
    saved = tf.train.load_variable(
        manifests(tmp_path / "best")[0].prefix, "weights/weight/.ATTRIBUTES/VARIABLE_VALUE"
    )
    assert saved == 20.0


def test_less_can_be_better_and_nan_never_is(tmp_path):
    run = Run(tmp_path, "-loss")
    for step, loss in ((10, float("nan")), (20, 3.0), (30, 2.0), (40, float("nan"))):
        run.evaluated(step, loss=loss)
    assert run.steps == [30]


def test_after_a_restart_it_knows_what_was_best_until_then(tmp_path):
    run = Run(tmp_path, "accuracy")
    for step, accuracy in ((10, 0.6), (20, 0.9)):
        run.evaluated(step, accuracy=accuracy)
    run.restart(10)  # Killed after 20 and before its checkpoint.
    run.evaluated(15, accuracy=0.5)
    assert run.steps == [20]
    run.evaluated(18, accuracy=0.7)
    assert run.steps == [18]


def test_after_a_rollback_so_too(tmp_path):
    run = Run(tmp_path, "accuracy")
    for step, accuracy in ((10, 0.6), (20, 0.9)):
        run.evaluated(step, accuracy=accuracy)
    run.best.forget_after(10)
    run.evaluated(18, accuracy=0.7)
    assert run.steps == [18]


def test_without_a_name_none_is_kept_and_a_wrong_one_is_named(tmp_path):
    run = Run(tmp_path / "none", "")
    run.evaluated(10, accuracy=0.5)
    assert run.steps == []
    run = Run(tmp_path, "precision")
    with pytest.raises(ValueError, match="best_metric='precision' is none of .*: accuracy, loss"):
        run.evaluated(10, accuracy=0.5, loss=1.0)
