"""Export, end to end: what a trained workdir becomes, and when nothing comes of it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from pipelines import audio
from tf_perceiver.serving import signatures, warmup
from tf_perceiver.training import checkpoint

STEP = 20  # Where the :tiny variants end.


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def warm_up_inputs(version, name: str) -> list[np.ndarray]:
    records = tf.data.TFRecordDataset(str(version / warmup.FILE)).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    return [tf.make_ndarray(log.predict_log.request.inputs[name]) for log in logs]


def test_a_numbered_version_appears_and_nothing_else(exported_digits):
    output, stdout = exported_digits.folder, exported_digits.stdout
    assert names(output) == [str(STEP)]
    assert {"assets", "assets.extra", "saved_model.pb", "variables"} <= set(
        names(output / str(STEP))
    )
    # Readable by a server that runs as somebody else.
    assert (output / str(STEP)).stat().st_mode & 0o555 == 0o555
    labels = (output / str(STEP) / "assets" / "labels.txt").read_text()
    assert labels.split() == [str(digit) for digit in range(10)]
    assert signatures.custom_operations(output / str(STEP)) == []
    assert stdout.startswith(f"{output / str(STEP)}: ")
    assert '{"instances": [{"b64": "' in stdout
    assert f"--model_base_path={output}" in stdout


def test_answers_are_the_trained_model_s(exported_digits, trained_digits):
    serve = tf.saved_model.load(str(exported_digits.folder / str(STEP))).signatures[
        "serving_default"
    ]
    trained = checkpoint.load_for_inference(trained_digits.workdir)
    files = [path.read_bytes() for path in trained_digits.files.values()]
    pixels = tf.stack([tf.io.decode_png(file, 3) for file in files])
    image = trained.config.data.image
    batch = (tf.cast(pixels, tf.float32) / 255 - image.mean[0]) / image.std[0]
    expected = tf.nn.softmax(trained.model({"image": batch}))
    answer = serve(image_bytes=tf.constant(files))["probabilities"]
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_warm_up_requests_are_real_examples_that_the_model_answers(exported_digits, trained_digits):
    version = exported_digits.folder / str(STEP)
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    batches = warm_up_inputs(version, "image_bytes")
    assert [len(batch) for batch in batches] == [1, 8]
    shard = next(trained_digits.data.glob("digits-test*")).read_bytes()
    assert all(image in shard for image in batches[1])
    for batch in batches:
        answer = serve(image_bytes=tf.constant(batch.tolist()))
        assert answer["probabilities"].shape == (len(batch), 10)


def test_by_default_it_is_written_into_the_workdir(trained_digits, command, tmp_path):
    workdir = tmp_path / "workdir"
    shutil.copytree(trained_digits.workdir, workdir)
    command("tf_perceiver.export", f"--workdir={workdir}").check()
    version = workdir / "saved_model" / str(STEP)
    assert (version / "saved_model.pb").is_file()

    again = command("tf_perceiver.export", f"--workdir={workdir}")
    assert again.returncode == 2
    assert again.stderr.strip() == (
        f"error: {version} exists; --overwrite replaces it, --output writes elsewhere"
    )

    (version / "stale").touch()
    command("tf_perceiver.export", f"--workdir={workdir}", "--overwrite").check()
    assert not (version / "stale").exists()
    assert names(workdir / "saved_model") == [str(STEP)]


def test_points_are_exported_too(exported_shapes):
    version = exported_shapes.folder / str(STEP)
    batches = warm_up_inputs(version, "points")
    assert batches[0].shape == (1, 80, 3)
    assert batches[1].shape == (2, 80, 3)  # The others of the first eight have 100 points.
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    assert serve(points=tf.constant(batches[1]))["probabilities"].shape == (2, 3)
    assert '{"instances": [[[0.1, 0.2, 0.3], ...]]}' in exported_shapes.stdout


def test_records_elsewhere_are_named_by_a_flag(trained_digits, command, tmp_path):
    workdir, moved = tmp_path / "workdir", tmp_path / "moved"
    shutil.copytree(trained_digits.workdir, workdir)
    shutil.copytree(trained_digits.data, moved)
    run = json.loads((workdir / "config.json").read_text())
    (workdir / "config.json").write_text(json.dumps(run | {"data": str(tmp_path / "gone")}))
    result = command("tf_perceiver.export", f"--workdir={workdir}")
    assert result.returncode == 2
    assert f"error: {tmp_path / 'gone'}: not a finished dataset" in result.stderr
    assert "--data names the records" in result.stderr
    command("tf_perceiver.export", f"--workdir={workdir}", f"--data={moved}").check()


def test_records_of_another_modality_are_named(trained_digits, trained_shapes, command, tmp_path):
    result = command(
        "tf_perceiver.export", f"--workdir={trained_digits.workdir}", f"--output={tmp_path}",
        f"--data={trained_shapes.data}",
    )  # fmt: skip
    assert result.returncode == 2
    assert f"{trained_shapes.data} has key, label, points, the model takes image" in result.stderr
    assert names(tmp_path) == []


PYTHON_OPERATION = """
from pipelines import image
decode = image.decode
def through_python(raw, channels):
    return tf.ensure_shape(
        tf.py_function(lambda x: decode(x, channels), [raw], tf.uint8), [None, None, channels])
image.decode = through_python
"""
DRIFT = """
original = signatures.serving_function
signatures.serving_function = lambda model, *rest: original(
    lambda batch, training: 2 * model(batch, training=training) + tf.range(10.), *rest)
"""

NOT_A_NUMBER = DRIFT.replace("tf.range(10.)", "float('nan')")


@pytest.mark.parametrize(
    ("sabotage", "message"),
    [
        (PYTHON_OPERATION, "TensorFlow itself has no operation EagerPyFunc"),
        (DRIFT, "the exported model's answers differ from the live model's by"),
        (NOT_A_NUMBER, "the exported model's answers differ from the live model's by nan"),
    ],
    ids=["python-operation", "drift", "not-a-number"],
)
def test_what_would_not_serve_is_not_published(
    sabotage, message, trained_digits, command, checkout, tmp_path
):
    """Runs the command with one of our functions replaced, in its own process."""
    program = f"import sys\nsys.path.insert(0, {str(checkout)!r})\n"
    program += "import tensorflow as tf\nfrom tf_perceiver import command_line, export\n"
    program += "from tf_perceiver.serving import signatures\n"
    program += sabotage + "\ncommand_line.run(export.main)\n"
    (tmp_path / "sabotaged.py").write_text(program)
    output = tmp_path / "models"
    result = command(
        "sabotaged", f"--workdir={trained_digits.workdir}", f"--output={output}", cwd=tmp_path
    )
    assert result.returncode == 2, result.stderr[-2000:]
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert names(output) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: --workdir is missing; see --help"),
        (["--workdir={tmp}"], "error: {tmp} is not a workdir"),
        (["--workdir={tmp}", "--outputs=x"], "error: "),
    ],
)
def test_mistakes_get_one_line(arguments, message, command, tmp_path):
    result = command("tf_perceiver.export", *(one.format(tmp=tmp_path) for one in arguments))
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith(message.format(tmp=tmp_path))


def test_sounds_are_exported_with_their_rate(exported_sounds, trained_sounds):
    version = exported_sounds.folder / str(STEP)
    properties = json.loads((version / "assets" / "properties.json").read_text())
    assert properties == {"modality": "audio", "task": "classification", "sample_rate": 8000}
    assert signatures.custom_operations(version) == []
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    trained = checkpoint.load_for_inference(trained_sounds.workdir)
    for batch in warm_up_inputs(version, "waveform"):
        assert batch.dtype == np.float32
        assert 0.1 < np.abs(batch).max() <= 1
        prepared = tf.stack(
            [
                audio.prepare_eval({"audio": tf.constant(one)}, trained.config.data.audio)["audio"]
                for one in batch
            ]
        )
        expected = tf.nn.softmax(trained.model({"audio": prepared}))
        answer = serve(waveform=tf.constant(batch))["probabilities"]
        np.testing.assert_allclose(answer, expected, atol=1e-5)
    for samples in (1, 100, 20_000):
        assert serve(waveform=tf.zeros([3, samples]))["probabilities"].shape == (3, 3)
    assert '{"instances": [[0.01, -0.02, ...]]}' in exported_sounds.stdout
