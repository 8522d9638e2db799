"""Prediction from raw files, end to end, with models that were trained and exported for it."""

from __future__ import annotations

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from PIL import Image


@pytest.fixture
def digits_model(exported_digits):
    """Folder of versions of the digits' model."""
    return exported_digits.folder


@pytest.fixture
def shapes_model(exported_shapes):
    """Folder of versions of the point clouds' model."""
    return exported_shapes.folder


def served(folder, **inputs) -> np.ndarray:
    """Probabilities of one raw example, asked without our command."""
    serve = tf.saved_model.load(str(folder / "20")).signatures["serving_default"]
    return serve(**inputs)["probabilities"].numpy()[0]


def test_files_are_answered_in_their_order(digits_model, trained_digits, command):
    files = [str(trained_digits.files[digit]) for digit in ("3", "1", "4", "1")]
    lines = command("tf_perceiver.predict", f"--model={digits_model}", *files).check().stdout
    for file, line in zip(files, lines.splitlines(), strict=True):
        expected = served(digits_model, image_bytes=tf.constant([pathlib.Path(file).read_bytes()]))
        label, score = re.fullmatch(re.escape(file) + r": (\d) (0\.\d{4})", line).groups()
        assert int(label) == expected.argmax()
        assert float(score) == pytest.approx(expected.max(), abs=6e-5)


def test_top_k_and_json(digits_model, trained_digits, command):
    file = trained_digits.files["7"]
    result = command(
        "tf_perceiver.predict", f"--model={digits_model}", "--top_k=5", "--json", file
    ).check()
    row = json.loads(result.stdout)
    expected = served(digits_model, image_bytes=tf.constant([file.read_bytes()]))
    order = np.argsort(-expected, kind="stable")[:5]
    assert row["file"] == str(file)
    assert (row["label"], row["score"]) == (row["top"][0]["label"], row["top"][0]["score"])
    assert [int(one["label"]) for one in row["top"]] == order.tolist()
    np.testing.assert_allclose([one["score"] for one in row["top"]], expected[order], atol=1e-5)


def test_more_classes_than_there_are_gives_all(digits_model, trained_digits, command):
    file = trained_digits.files["0"]
    result = command("tf_perceiver.predict", f"--model={digits_model}", "--top_k=99", file).check()
    scores = [float(one.split()[1]) for one in result.stdout.partition(": ")[2].split(", ")]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-3)


def test_any_name_is_one_line(digits_model, trained_digits, command, tmp_path):
    good, bad = tmp_path / "a\nb\udcff.png", tmp_path / "c\r\udcfe.png"
    good.write_bytes(next(iter(trained_digits.files.values())).read_bytes())
    bad.write_bytes(b"")
    result = command("tf_perceiver.predict", f"--model={digits_model}", good, bad)
    assert result.stdout.startswith(f"{tmp_path}/a\\nb\\udcff.png: ")
    assert result.stdout.count("\n") == 1
    assert result.stderr == f"error: {tmp_path}/c\\r\\udcfe.png has no bytes\n"


def test_the_newest_version_wins(digits_model, trained_digits, command, tmp_path):
    for version in ("3", "100", "20"):
        shutil.copytree(digits_model / "20", tmp_path / version)
    # Only version 100 can say this.
    (tmp_path / "100" / "assets" / "labels.txt").write_text("hundred\n" * 10)
    (tmp_path / "1000").mkdir()  # No SavedModel yet.
    file = trained_digits.files["0"]
    newest = command("tf_perceiver.predict", f"--model={tmp_path}", file).check()
    assert ": hundred " in newest.stdout
    older = command("tf_perceiver.predict", f"--model={tmp_path / '3'}", file).check()
    assert "hundred" not in older.stdout


def test_images_that_tensorflow_cannot_read_are_converted(digits_model, command, tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    picture = Image.fromarray(grey)
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.tiff")
    a, b = (
        command("tf_perceiver.predict", f"--model={digits_model}", "--top_k=10", tmp_path / name)
        .check()
        .stdout.partition(": ")[2]
        for name in ("a.png", "b.tiff")
    )
    assert a == b


def test_bad_files_get_a_line_each_and_the_others_their_answers(
    digits_model, trained_digits, command, tmp_path
):
    good = trained_digits.files["5"]
    content = good.read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "chair.off").write_text("OFF 0 0 0")
    (tmp_path / "folder").mkdir()
    bad = ["cut.png", "empty.png", "text.png", "chair.off", "missing.png", "folder"]
    result = command(
        "tf_perceiver.predict", f"--model={digits_model}", good,
        *(tmp_path / name for name in bad), good,
    )  # fmt: skip
    assert result.returncode == 2
    assert [line.partition(": ")[0] for line in result.stdout.splitlines()] == [str(good)] * 2
    errors = result.stderr.strip().splitlines()
    assert len(errors) == len(bad)
    for name, line in zip(bad, errors, strict=True):
        assert line.startswith(f"error: {tmp_path / name}")
    assert errors[3].endswith("is a point cloud, the model takes an image")
    assert errors[4].endswith("can't be read: No such file or directory")


def test_points_are_read_from_every_format(shapes_model, trained_shapes, command, tmp_path):
    cloud = np.load(trained_shapes.files["rod"])
    np.savetxt(tmp_path / "rod.txt", cloud, delimiter=",", fmt="%.9g")
    tetrahedron = "OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
    (tmp_path / "mesh.off").write_text(tetrahedron)
    files = [trained_shapes.files["rod"], tmp_path / "rod.txt", tmp_path / "mesh.off"]
    result = command(
        "tf_perceiver.predict", f"--model={shapes_model}", "--json", "--top_k=3", *files
    ).check()
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    expected = served(shapes_model, points=tf.constant(cloud[None]))
    for row in rows[:2]:
        scores = {one["label"]: one["score"] for one in row["top"]}
        np.testing.assert_allclose(
            [scores[label] for label in ("ball", "rod", "sheet")], expected, atol=1e-5
        )
    assert rows[2]["file"].endswith("mesh.off")
    assert {one["label"] for one in rows[2]["top"]} == {"ball", "rod", "sheet"}


def test_a_picture_for_a_model_of_points_is_named(shapes_model, trained_digits, command):
    file = trained_digits.files["0"]
    result = command("tf_perceiver.predict", f"--model={shapes_model}", file)
    assert result.returncode == 2
    assert result.stderr.strip() == f"error: {file} is an image, the model takes a point cloud"


def test_what_the_graph_refuses_does_not_spoil_its_batch(tmp_path):
    """In this process, with a graph that refuses red pictures: ours refuses nothing we know of."""
    from tf_perceiver import predict

    @tf.function
    def serve(image_bytes):
        pixels = tf.map_fn(
            lambda file: tf.io.decode_png(file, 3), image_bytes, fn_output_signature=tf.uint8
        )
        tf.debugging.assert_less(pixels[..., 0], tf.constant(255, tf.uint8), "too red")
        return {"probabilities": tf.ones([tf.shape(pixels)[0], 2]) / 2}

    files = []
    for name, red in (("a", 0), ("b", 255), ("c", 9)):
        files.append(str(tmp_path / f"{name}.png"))
        Image.new("RGB", (4, 4), (red, 0, 0)).save(files[-1])
    model = predict.Model(serve, "image", "classification", ["x", "y"])
    first, refused, last = predict.answers(model, files)
    assert [first.file, refused.file, last.file] == files
    for answer in (first, last):
        assert answer.said["probabilities"].tolist() == [0.5, 0.5]
    assert refused.said == {}
    assert refused.error.startswith(
        f"{files[1]}: TensorFlow refuses it (assertion failed: [too red"
    )
    assert "\n" not in refused.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.png"], "error: --model is missing; see --help"),
        (["--model={tmp}"], "error: no files to predict from; name them after the flags"),
        (["--model={tmp}/none", "x.png"], "error: --model={tmp}/none: no such folder"),
        (["--model={tmp}", "x.png"], "error: --model={tmp}: no SavedModel and no numbered"),
        (["--model={tmp}/bad", "x.png"], "error: --model={tmp}/bad isn't a model of tf_perc"),
        (["--model={tmp}", "--top_k=0", "x.png"], "error: flag --top_k=0"),
    ],
)
def test_mistakes_get_one_line(arguments, message, command, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "saved_model.pb").write_bytes(b"not a protocol buffer")
    result = command("tf_perceiver.predict", *(one.format(tmp=tmp_path) for one in arguments))
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith(message.format(tmp=tmp_path))
    assert result.stdout == ""


def test_a_saved_model_that_is_not_ours_is_named(command, tmp_path):
    module = tf.Module()
    module.double = tf.function(lambda x: {"y": 2 * x}, [tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(tmp_path / "7"), {"serving_default": module.double})
    result = command("tf_perceiver.predict", f"--model={tmp_path}", "x.png")
    assert result.returncode == 2
    assert f"--model={tmp_path / '7'} isn't a model of tf_perceiver.export" in result.stderr


def test_sounds_of_every_format_are_answered(exported_sounds, trained_sounds, command, tmp_path):
    samples, rate = soundfile.read(trained_sounds.files["rising"], dtype="float32")
    twice = np.repeat(samples, 2)
    soundfile.write(tmp_path / "same.flac", samples, rate)
    soundfile.write(tmp_path / "stereo.aiff", np.stack([samples, samples], 1), rate)
    soundfile.write(tmp_path / "float.wav", samples, rate, subtype="FLOAT")
    soundfile.write(tmp_path / "faster.ogg", twice, 2 * rate)
    files = [trained_sounds.files["rising"]]
    files += [tmp_path / name for name in ("same.flac", "stereo.aiff", "float.wav", "faster.ogg")]
    result = command(
        "tf_perceiver.predict", f"--model={exported_sounds.folder}", "--json", "--top_k=3", *files
    ).check()
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    expected = served(exported_sounds.folder, waveform=tf.constant(samples[None]))
    assert len(rows) == len(files)
    for row, tolerance in zip(rows, (1e-5, 1e-5, 1e-5, 1e-5, 0.2), strict=True):
        scores = {one["label"]: one["score"] for one in row["top"]}
        found = [scores[label] for label in ("falling", "noise", "rising")]
        np.testing.assert_allclose(found, expected, atol=tolerance)


def test_bad_sounds_get_a_line_each(exported_sounds, trained_sounds, command, tmp_path):
    good = trained_sounds.files["noise"]
    (tmp_path / "cut.wav").write_bytes(good.read_bytes()[:-1000])
    (tmp_path / "text.mp3").write_text("not a sound")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    bad = [tmp_path / name for name in ("cut.wav", "text.mp3", "a.png")]
    result = command("tf_perceiver.predict", f"--model={exported_sounds.folder}", *bad, good)
    assert result.returncode == 2
    assert result.stdout.startswith(f"{good}: ")
    errors = result.stderr.strip().splitlines()
    assert len(errors) == 3
    for file, line in zip(bad, errors, strict=True):
        assert line.startswith(f"error: {file}")
    assert "bytes of samples" in errors[0]
    assert errors[2].endswith("is an image, the model takes a sound")
