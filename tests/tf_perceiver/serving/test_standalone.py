"""The example client: a process of its own, TensorFlow alone, any SavedModel of our signature."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import wave

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tf_perceiver" / "serving" / "standalone.py"


def _run(*arguments, isolated=True):
    return subprocess.run(
        [sys.executable, *(["-I", "-S"] if isolated else []), str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One SavedModel answers with a file's first byte, one with the sign of a cloud's z, one with
    the sign of a sound's mean.
    """
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("models")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def images(image_bytes):
        first = tf.strings.substr(image_bytes, 0, 1)
        score = tf.cast(tf.strings.length(image_bytes), tf.float32) / 10.0
        return {"label": first, "score": score, "probabilities": score[:, None]}

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.float32, name="points")])
    def points(points):
        mean = tf.reduce_mean(points[:, :, 2], axis=1)
        label = tf.where(mean > 0.0, "above", "below")
        return {"label": label, "score": tf.abs(mean), "probabilities": mean[:, None]}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="waveform")])
    def sounds(waveform):
        mean = tf.reduce_mean(waveform, axis=1)
        label = tf.where(mean > 0.0, "above", "below")
        return {"label": label, "score": tf.abs(mean), "probabilities": mean[:, None]}

    functions = {"images/9": images, "images/10": images, "points/3": points, "sounds/1": sounds}
    for version, function in functions.items():
        module = tf.Module()
        module.serve = function
        tf.saved_model.save(module, str(folder / version), {"serving_default": function})
    (folder / "sounds/1/assets/properties.json").write_text('{"sample_rate": 8000}')
    (folder / "images" / "9" / "saved_model.pb").write_bytes(b"an older version, not to be loaded")
    return folder


def test_images_of_the_newest_version_in_a_process_that_cannot_import_us(models, tmp_path):
    files = []
    for index in range(70):  # more than one request
        files.append(tmp_path / f"{index}.png")
        files[-1].write_bytes(b"%c" % (97 + index % 26) + b"x" * (index % 3))
    ended = _run("--alone", models / "images", *files)
    assert ended.returncode == 0, ended.stderr
    assert [json.loads(line) for line in ended.stdout.splitlines()] == [
        {"file": str(file), "label": chr(97 + i % 26), "score": round(0.1 + i % 3 / 10, 4)}
        for i, file in enumerate(files)
    ]


def test_clouds_of_different_sizes(models, tmp_path):
    np.save(tmp_path / "a.npy", np.full((5, 3), 0.25))
    np.save(tmp_path / "b.npy", np.full((7, 3), -0.5, np.float16))
    ended = _run(models / "points" / "3", tmp_path / "a.npy", tmp_path / "b.npy")
    assert [json.loads(line) for line in ended.stdout.splitlines()] == [
        {"file": str(tmp_path / "a.npy"), "label": "above", "score": 0.25},
        {"file": str(tmp_path / "b.npy"), "label": "below", "score": 0.5},
    ]


def _wav(file, samples: np.ndarray, rate: int) -> None:
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(samples.shape[1])
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes((samples * 32768).astype("<i2").tobytes())


def test_sounds_of_different_lengths_and_channels(models, tmp_path):
    _wav(tmp_path / "a.wav", np.full((50, 1), 0.25), 8000)
    _wav(tmp_path / "b.wav", np.tile([[-0.75, 0.25]], (70, 1)), 8000)
    ended = _run(models / "sounds", tmp_path / "a.wav", tmp_path / "b.wav")
    assert ended.returncode == 0, ended.stderr
    assert [json.loads(line) for line in ended.stdout.splitlines()] == [
        {"file": str(tmp_path / "a.wav"), "label": "above", "score": 0.25},
        {"file": str(tmp_path / "b.wav"), "label": "below", "score": 0.25},
    ]


def test_a_sound_of_another_rate_or_format_is_named(models, tmp_path):
    _wav(tmp_path / "a.wav", np.zeros((50, 1)), 16000)
    (tmp_path / "b.wav").write_bytes(b"no sound")
    messages = ("has 16000 samples a second, the model takes 8000", "no WAV of 16 bits")
    for name, message in zip(("a.wav", "b.wav"), messages, strict=True):
        ended = _run(models / "sounds", tmp_path / name)
        assert ended.returncode == 2
        assert ended.stderr.splitlines()[-1].startswith(f"error: {tmp_path / name}")
        assert message in ended.stderr


def test_alone_refuses_where_our_package_can_be_imported(models, tmp_path):
    ended = _run("--alone", models / "images", tmp_path / "any.png", isolated=False)
    assert ended.returncode == 2
    assert ended.stderr == "error: tf_perceiver can be imported here; run with python -I -S\n"


@pytest.mark.parametrize(
    ("model", "words"),
    [("nothing", "nothing has neither saved_model.pb nor a version"), ("images", "gone.png")],
)
def test_what_is_missing_is_named_in_one_line(models, model, words):
    ended = _run(models / model, "gone.png")
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
