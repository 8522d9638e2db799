"""Videos with sound in class folders, from raw files to their reconstruction."""

from __future__ import annotations

import json
import re

import clips
import numpy as np
import soundfile
import tensorflow as tf
from PIL import Image

from pipelines.readers import video
from tf_perceiver.report import reconstructions

EVENTS = {"early": (0.2, 0.3), "late": (0.5, 0.6)}


def clip(event: tuple[float, float], seconds: float = 0.8, silent: bool = False) -> bytes:
    sound = clips.tone(16_000, seconds, event)
    return clips.encoded(times=clips.regular(seconds), sound=sound, flash=event, silent=silent)


def test_from_videos_to_their_reconstruction(tmp_path, command):
    raw, data, workdir = (tmp_path / name for name in ("raw", "data", "run"))
    for label, event in EVENTS.items():
        content = clip(event)
        for split, count in (("train", 4), ("val", 3)):
            (raw / split / label).mkdir(parents=True)
            for number in range(count):
                (raw / split / label / f"{label}{number}.mp4").write_bytes(content)
    command(
        "beam_preprocess.run", "--dataset=kinetics", f"--input={raw}", f"--output={data}",
        "--sample_rate=16000", "--frame_size=24", "--shards=1",
    ).check()  # fmt: skip
    command(
        "tf_perceiver.train", "--config=configs/kinetics.py:tiny", f"--data={data}",
        f"--workdir={workdir}", timeout=400,
    ).check()  # fmt: skip
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    evaluated = [row for row in rows if row["kind"] == "eval"][-1]
    # The files of a class are all the same: what is found of one is found of all.
    assert evaluated["accuracy"] in (0, 0.5, 1)
    pictures = {file.stem for file in (workdir / "report").glob("*.png")}
    assert {"reconstructions", "video_psnr", "audio_psnr", "accuracy", "loss"} <= pictures

    told = command("tf_perceiver.export", f"--workdir={workdir}", timeout=400).check().stdout
    assert "FILE.mp4" in told
    files = [raw / f"val/{label}/{label}0.mp4" for label in EVENTS]
    bad = {"silent": clip((0.2, 0.3), silent=True), "short": clip((0.2, 0.3), 0.4), "cut": b""}
    bad["cut"] = files[0].read_bytes()[:-100]
    for name, content in bad.items():
        (tmp_path / f"{name}.mp4").write_bytes(content)
    result = command(
        "tf_perceiver.predict", f"--model={workdir / 'saved_model'}", f"--output={tmp_path / 'o'}",
        *files, *(tmp_path / f"{name}.mp4" for name in bad),
    )  # fmt: skip
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    reasons = (" has no audio track", " ends after .* of a clip's 16 frames", " has .* bytes")
    for name, line, reason in zip(bad, errors, reasons, strict=True):
        assert re.match(re.escape(f"error: {tmp_path / name}.mp4") + reason, line)

    serve = tf.saved_model.load(str(workdir / "saved_model/20")).signatures["serving_default"]
    errors = []
    for file, line in zip(files, result.stdout.splitlines(), strict=True):
        read = video.read(file.read_bytes(), "", fps=25, size=24, sample_rate=16_000)
        said = serve(
            frames_bytes=tf.constant([read.frames]),
            waveform=tf.constant([read.audio / 32_768], tf.float32),
        )
        one = {name: tensor.numpy()[0] for name, tensor in said.items()}
        stem = tmp_path / "o" / f"{file.stem}_reconstruction"
        assert line == (
            f"{file}: {one['label'].decode()} {one['score']:.4f}; {stem}.png, {stem}.wav"
        )
        expected = reconstructions.strip(one["original_frames"], one["frames"])
        found = np.asarray(Image.open(f"{stem}.png")).astype(int)
        assert np.abs(found - expected).max() <= 1
        heard, rate = soundfile.read(f"{stem}.wav")
        assert (len(heard), rate) == (2_560, 16_000)
        np.testing.assert_allclose(heard, one["waveform"], atol=1e-3)
        # The middle of the clip, as it was, from where a frame begins.
        first = round((len(read.frames) - 4) / 2) * 16_000 // 25
        near = np.abs(one["original_waveform"] - read.audio[first : first + 2_560] / 32_768)
        assert near.max() < 1e-4
        error = np.mean((one["original_frames"] - one["frames"]) ** 2)
        errors.append(-10 * np.log10(error))
    # Of the raw files as of the records.
    np.testing.assert_allclose(np.mean(errors), evaluated["video_psnr"], atol=1e-3)
