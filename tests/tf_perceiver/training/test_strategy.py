"""Strategies by name, and what is said where they can't be had."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tf_perceiver.training import strategy


@pytest.mark.parametrize("name", ["auto", "cpu", "one_device"])
def test_one_device(name):
    built = strategy.build(name)
    assert isinstance(built, tf.distribute.OneDeviceStrategy)
    assert strategy.is_chief(built)


def test_mirrored_without_a_gpu_mirrors_over_the_cpus():
    assert isinstance(strategy.build("mirrored"), tf.distribute.MirroredStrategy)


@pytest.mark.parametrize(
    ("name", "tpu", "tf_config", "message"),
    [
        ("miror", None, None, "--strategy=miror is none of auto, cpu"),
        ("tpu", None, None, "no TPU is named and TPU_NAME is not set"),
        ("mirrored", "mine", None, "--tpu=mine goes with --strategy=tpu"),
        ("multi_worker", None, None, "needs TF_CONFIG"),
        ("multi_worker", None, "{", "needs TF_CONFIG"),
        ("multi_worker", None, '{"cluster": {"worker": ["a:1"]}}', "needs TF_CONFIG"),
    ],
)
def test_what_can_not_be_had_is_said_in_one_line(monkeypatch, name, tpu, tf_config, message):
    monkeypatch.delenv("TPU_NAME", raising=False)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if tf_config is not None:
        monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(ValueError, match=message) as error:
        strategy.build(name, tpu)
    assert "\n" not in str(error.value)
