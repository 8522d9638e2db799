"""Parameters and FLOPs of the published models against the papers' and the checkpoints'."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tf_perceiver import presets
from tf_perceiver.model import perceiver


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("imagenet", 44_912_254),
        ("imagenet_unshared", 326_241_856),
        ("imagenet_one_cross", 42_135_859),
        ("io_imagenet_fourier", 48_440_627),
        ("io_imagenet_learned", 62_255_848),
        ("io_imagenet_conv", 48_646_522),
        ("io_flow", 41_057_134),
        ("io_flow_light", 27_908_974),
        ("io_language_bytes", 201_108_230),
        ("io_kinetics_autoencoder", 19_858_855),
    ],
)
def test_parameters_are_the_published_ones(name, parameters):
    assert presets.measured(name)[0] == parameters


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("imagenet", 707.2),
        ("imagenet_one_cross", 404),
        ("io_imagenet_fourier", 407),
        ("io_imagenet_conv", 369),
        ("io_flow_light", 985.5),
        ("io_language_bytes", 120.1),
    ],
)
def test_flops_are_the_published_ones(name, billions):
    assert presets.measured(name)[1] / 1e9 == pytest.approx(billions, rel=5e-3)


def test_everything_shared_has_its_count():
    config = presets.imagenet()
    config["trunk"].update(sharing="all")
    with tf.Graph().as_default():  # Counts without making 42 M numbers.
        assert perceiver.build(config, outputs=1000).count_params() == 42_135_859


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("modelnet40", 387),
        ("audioset_raw_video", 487),
        ("audioset_mel_video", 487),
        ("io_flow", 322),
        ("io_imagenet_learned", 512),
        ("io_kinetics_autoencoder", 704),
    ],
)
def test_inputs_are_as_wide_as_published(name, channels):
    with tf.Graph().as_default():
        assert presets.build(name).preprocessor.channels == channels


def test_the_command_prints_both_figures(command):
    ended = command("tf_perceiver.presets").check()
    rows = [line.split() for line in ended.stdout.splitlines()]
    (row,) = (row for row in rows if row[:1] == ["io_language_bytes"])
    assert row[1:] == ["2,048", "201,108,230", "201", "M", "120.1", "113"]
    assert "707.2" in ended.stdout


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match="no preset 'imagnet'; there are imagenet, "):
        presets.build("imagnet")
