"""Optical flow from raw frames, end to end: training, evaluation, export, the files it writes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines import flow as flow_pipeline
from pipelines.readers import flow as flow_files
from pipelines.records import DatasetInfo, parser
from tf_perceiver.report import flow_pictures
from tf_perceiver.serving import signatures, warmup
from tf_perceiver.training import checkpoint


def by_live_model(trained, first, second) -> np.ndarray:
    """The flow of two files' contents by the trained model itself, tile by tile."""
    loaded = checkpoint.load_for_inference(trained.workdir)
    fields = {"frames": tf.constant([first, second])}
    image = flow_pipeline.prepare_eval(fields, loaded.config.data.flow)["image"]
    return loaded.model({"image": image[None]})[0].numpy()


def test_a_pair_becomes_a_flow_file_and_its_picture(
    exported_frames, trained_frames, command, tmp_path
):
    files = [trained_frames.files[name] for name in ("first", "second")]
    stdout = (
        command(
            "tf_perceiver.predict",
            f"--model={exported_frames.folder}",
            f"--output={tmp_path / 'new/answers'}",
            *files,
        )  # fmt: skip
        .check()
        .stdout
    )
    written = tmp_path / "new/answers"
    assert sorted(file.name for file in written.iterdir()) == ["first_flow.flo", "first_flow.png"]
    found, valid = flow_files.read((written / "first_flow.flo").read_bytes(), "a.flo")
    assert valid.all()
    contents = [file.read_bytes() for file in files]
    expected = by_live_model(trained_frames, *contents)
    assert expected.shape == (56, 80, 2)  # Neither a tile's size nor that of evaluation.
    np.testing.assert_allclose(found, expected, atol=1e-5)
    picture = np.asarray(Image.open(written / "first_flow.png"))
    np.testing.assert_array_equal(picture, flow_pictures.colours(found))
    said = re.fullmatch(
        re.escape(str(files[0])) + r": moves (\d+\.\d\d) px, (\d+\.\d\d) at most; (\S+), (\S+)\n",
        stdout,
    )
    lengths = np.linalg.norm(found, axis=-1)
    assert float(said[1]) == pytest.approx(lengths.mean(), abs=0.006)
    assert float(said[2]) == pytest.approx(lengths.max(), abs=0.006)
    assert said[3] == str(written / "first_flow.flo")


def test_pairs_that_are_none_get_a_line_and_the_others_their_answers(
    exported_frames, trained_frames, command, tmp_path
):
    first, second = (trained_frames.files[name] for name in ("first", "second"))
    pixels = np.asarray(Image.open(first))
    Image.fromarray(pixels[:-1]).save(tmp_path / "shorter.png")
    Image.fromarray(np.tile(pixels, (2, 2, 1))).save(tmp_path / "large.jpg")
    (tmp_path / "cut.png").write_bytes(first.read_bytes()[:100])
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    result = command(
        "tf_perceiver.predict", f"--model={exported_frames.folder}", f"--output={tmp_path}",
        "--json",
        tmp_path / "shorter.png", first,
        tmp_path / "cut.png", second,
        tmp_path / "large.jpg", tmp_path / "large.jpg",
        tmp_path / "a.wav", second,
        first, second,
    )  # fmt: skip
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert errors[0] == (f"error: {tmp_path / 'shorter.png'} has 80 x 55 pixels, {first} 80 x 56")
    assert errors[1].startswith(f"error: {tmp_path / 'cut.png'}: ")
    assert errors[2] == f"error: {tmp_path / 'a.wav'} is a sound, the model takes two frames"
    assert len(errors) == 3
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["file"] for row in rows] == [str(tmp_path / "large.jpg"), str(first)]
    assert flow_files.read((tmp_path / "large_flow.flo").read_bytes(), "")[0].shape == (112, 160, 2)
    assert rows[1]["picture"] == str(tmp_path / "first_flow.png")


def test_files_that_are_no_pairs_are_named(exported_frames, trained_frames, command, tmp_path):
    first = trained_frames.files["first"]
    result = command("tf_perceiver.predict", f"--model={exported_frames.folder}", first)
    assert result.returncode == 2
    assert "error: 1 files are no pairs: name first and second frame" in result.stderr
    (tmp_path / "first.png").write_bytes(first.read_bytes())
    result = command(
        "tf_perceiver.predict", f"--model={exported_frames.folder}",
        first, first, tmp_path / "first.png", first,
    )  # fmt: skip
    assert result.returncode == 2
    assert "have one name, and so have their answers" in result.stderr


def test_evaluation_counts_every_valid_pixel_of_whole_frames(trained_frames, command):
    row = json.loads(
        command("tf_perceiver.evaluate", f"--workdir={trained_frames.workdir}")
        .check()
        .stdout.splitlines()[-1]
    )
    loaded = checkpoint.load_for_inference(trained_frames.workdir)
    info = DatasetInfo.read(str(trained_frames.data))
    file = trained_frames.data / info.split("val").shards[0].name
    errors, motions = [], []
    for record in tf.data.TFRecordDataset(str(file)).map(parser(info.features)):
        example = flow_pipeline.prepare_eval(record, loaded.config.data.flow)
        found = loaded.model({"image": example["image"][None]})[0].numpy().astype(np.float64)
        kept = example["valid"].numpy() > 0
        true = example["flow"].numpy().astype(np.float64)
        errors.append(np.linalg.norm(found - true, axis=-1)[kept])
        motions.append(np.linalg.norm(true, axis=-1)[kept])
    assert row["examples"] == info.split("val").records
    assert row["zero_epe"] == pytest.approx(np.concatenate(motions).mean(), rel=1e-9)
    # The batch is another, and so are the last bits of what the model finds.
    assert row["epe"] == pytest.approx(np.concatenate(errors).mean(), rel=1e-5)
    assert row["within_3px"] == pytest.approx((np.concatenate(errors) < 3).mean(), abs=1e-3)


def test_what_is_served_is_plain_and_warmed_up_with_pairs_of_one_size(exported_frames):
    version = exported_frames.folder / "20"
    assert signatures.custom_operations(version) == []
    assert (version / "assets/labels.txt").read_text() == ""
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.data.TFRecordDataset(str(version / warmup.FILE)).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    requests = [tf.make_ndarray(log.predict_log.request.inputs["frames_bytes"]) for log in logs]
    assert [len(frames) for frames in requests][0] == 1
    assert len(requests[1]) > 1
    for frames in requests:
        flow = serve(frames_bytes=tf.constant(frames))["flow"]
        assert flow.shape[0] == len(frames)
        assert flow.shape[-1] == 2
    assert "FIRST.png SECOND.png" in exported_frames.stdout


def test_the_report_shows_frames_and_flow(trained_frames):
    report = trained_frames.workdir / "report"
    assert {"flow.png", "wheel.png", "epe.png", "loss.png"} <= {it.name for it in report.iterdir()}
    text = re.sub(r"<[^>]*>", " ", (report / "index.html").read_text())
    text = re.sub(r"\s+", " ", text)
    assert "mean end-point error on val" in text
    assert "of the answer that nothing moves" in text
    rows = [json.loads(it) for it in (trained_frames.workdir / "metrics.jsonl").open()]
    last = [row for row in rows if row["kind"] == "eval"][-1]
    assert f"{last['epe']:.2f} px mean end-point error" in text
    assert f"{last['examples']} pairs, each counted once" in text
