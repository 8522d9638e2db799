"""Which checkpoints an evaluation beside a training sees."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tf_perceiver.training import follow
from tf_perceiver.training.checkpoint import Checkpoints


@pytest.fixture
def save(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", {"weights": {"a": tf.Variable(0.0)}})
    return checkpoints.save


def test_each_new_one_until_the_training_is_done(tmp_path, save):
    found = follow.new_checkpoints(tmp_path, timeout=60.0, poll=0.01)
    save(10)
    assert next(found).step == 10
    save(20)
    save(30)
    assert next(found).step == 30
    save(40)
    (tmp_path / "DONE").touch()
    assert [manifest.step for manifest in found] == [40]


def test_none_for_a_while_is_the_end(tmp_path, save):
    found = follow.new_checkpoints(tmp_path, timeout=0.05, poll=0.01)
    save(10)
    assert [manifest.step for manifest in found] == [10]
    assert list(follow.new_checkpoints(tmp_path / "absent", timeout=0.0)) == []
