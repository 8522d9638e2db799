"""Zero-shot learning from features, or from clips, to a prediction; the test invents both."""

from __future__ import annotations

import json
import shutil

import clips
import numpy as np
import pytest
import tensorflow as tf
import zero_shot_raw as raw

from pipelines.records import DatasetInfo
from tf_perceiver.tasks import stacking

WIDTHS = {"audio_width": raw.AUDIO, "video_width": raw.VIDEO}
STEPS = 60


def test_from_features_to_the_names_of_classes_never_seen(tmp_path, command):
    raw.write(tmp_path / "raw")
    narrow = [f"--config.data.clip_features.{name}={width}" for name, width in WIDTHS.items()]
    narrow += [f"--config.train.steps={STEPS}", "--config.train.eval_every=60"]
    workdirs, bias = {}, []
    for stage, variant in ((1, "tiny"), (2, "tiny_stage2")):
        data, workdirs[stage] = tmp_path / f"data{stage}", tmp_path / f"run{stage}"
        command(
            "beam_preprocess.run", "--dataset=avca", f"--input={tmp_path / 'raw'}",
            f"--output={data}", f"--stage={stage}", "--shards=1",
            *(f"--{name}={width}" for name, width in WIDTHS.items()),
        ).check()  # fmt: skip
        command(
            "tf_perceiver.train", f"--config=configs/avca.py:{variant}", f"--data={data}",
            f"--workdir={workdirs[stage]}", *narrow, *bias,
        ).check()  # fmt: skip
        if stage == 1:
            told = command("tf_perceiver.evaluate", f"--workdir={workdirs[1]}").check().stdout
            first = json.loads(told.splitlines()[-1])
            assert (first["split"], first["examples"]) == ("val", 60)
            assert any(first["bias"] == pytest.approx(one) for one in np.linspace(0, 3, 16))
            bias.append(f"--config.task.bias={first['bias']}")
    command("beam_preprocess.verify", tmp_path / "data2").check()
    rows = [json.loads(line) for line in (workdirs[2] / "metrics.jsonl").read_text().splitlines()]
    second = [row for row in rows if row["kind"] == "eval"][-1]
    assert (second["split"], second["examples"], second["bias"]) == ("test", 42, first["bias"])
    # Three classes that it never saw, in order, by their vectors: chance is a third.
    assert second["zsl_accuracy"] > 0.5
    pictures = {file.stem for file in (workdirs[2] / "report").glob("*.png")}
    assert {"stacking", "classes_seen", "classes_unseen", "harmonic_mean"} <= pictures

    told = command("tf_perceiver.export", f"--workdir={workdirs[2]}").check().stdout
    assert "FILE.npz" in told
    info = DatasetInfo.read(str(tmp_path / "data2"))
    asked = [
        (tmp_path / f"raw/features/cls_features/{raw.clip(label, number)}.npz", label)
        for name in ("stage_2_test_seen", "stage_2_test_unseen")
        for label in raw.LISTS[name][0]
        for number in raw.LISTS[name][1]
    ]
    spoilt = {"wide": np.ones((2, raw.AUDIO + 1)), "nan": np.full((2, raw.AUDIO), np.nan)}
    for name, audio in spoilt.items():
        np.savez(tmp_path / f"{name}.npz", audio=audio, video=np.ones(raw.VIDEO))
    bad = [tmp_path / f"{name}.npz" for name in ("wide", "nan", "none")]
    model, files = f"--model={workdirs[2] / 'saved_model'}", [file for file, _ in asked]
    result = command("tf_perceiver.predict", model, "--json", *files, *bad)
    assert result.returncode == 2
    assert [line for line in result.stderr.splitlines() if line.startswith("error:")] == [
        f"error: {bad[0]}: audio has rows of 7 numbers, not 6",
        f"error: {bad[1]}: audio holds NaN or infinity",
        f"error: {bad[2]} can't be read: No such file or directory",
    ]
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["file"] for answer in answers] == list(map(str, files))
    # The raw files asked one by one are answered as the evaluation answers the split.
    labels = np.array([info.labels.index(label) for _, label in asked])
    answered = np.array([info.labels.index(answer["label"]) for answer in answers])
    by_class = stacking.class_accuracies(answered, labels, len(info.labels))
    unseen = np.isin(info.labels, info.properties["unseen"])
    assert by_class[~unseen].mean() == pytest.approx(second["seen_accuracy"], abs=1e-9)
    assert by_class[unseen].mean() == pytest.approx(second["unseen_accuracy"], abs=1e-9)

    # As a client asks, two clips of different lengths at once: rows of NaN are padding.
    serve = tf.saved_model.load(f"{workdirs[2]}/saved_model/{STEPS}").signatures["serving_default"]
    one, other = (raw.features(raw.NEVER[0], 1, rows) for rows in (3, 2))
    batch = {}
    for name in ("audio", "video"):
        short = np.pad(other[name], [(0, 1), (0, 0)], constant_values=np.nan)
        batch[f"{name}_features"] = tf.constant(np.stack([one[name], short]))
    both = serve(**batch)["probabilities"].numpy()
    alone = {f"{name}_features": tf.constant(rows[None]) for name, rows in other.items()}
    np.testing.assert_allclose(both[1], serve(**alone)["probabilities"][0], atol=1e-6)
    assert both.shape == (2, 12)


def test_from_clips_to_the_names_of_classes(tmp_path, command):
    raw.write(tmp_path / "raw", stages=(1,))
    shutil.rmtree(tmp_path / "raw/features")
    for name, count in (("train", 2), ("val_seen", 1), ("val_unseen", 1)):
        labels, numbers = raw.LISTS[f"stage_1_{name}"]
        for place, label in enumerate(labels):  # Told by when there is a flash and a beep.
            beep = (0.1 * place, 0.1 * place + 0.1)
            video = clips.encoded(
                times=clips.regular(0.8), sound=clips.tone(16_000, 0.8, beep), flash=beep
            )
            for number in numbers[:count]:
                (tmp_path / f"raw/{raw.clip(label, number)}.mp4").write_bytes(video)
    command(
        "beam_preprocess.run", "--dataset=avca_clips", f"--input={tmp_path / 'raw'}",
        f"--output={tmp_path / 'data'}", "--sample_rate=16000", "--frame_size=32", "--shards=1",
    ).check()  # fmt: skip
    command(
        "tf_perceiver.train", "--config=configs/avca.py:tiny_clips", f"--data={tmp_path / 'data'}",
        f"--workdir={tmp_path / 'run'}", "--config.train.steps=2",
    ).check()  # fmt: skip
    told = command("tf_perceiver.evaluate", f"--workdir={tmp_path / 'run'}").check().stdout
    row = json.loads(told.splitlines()[-1])
    assert (row["split"], row["examples"]) == ("val", 9)
    assert 0 <= row["harmonic_mean"] <= 1
    command("tf_perceiver.export", f"--workdir={tmp_path / 'run'}").check()
    asked = sorted(map(str, (tmp_path / "raw").glob("*.mp4")))[:3]
    model = f"--model={tmp_path / 'run/saved_model'}"
    answers = command("tf_perceiver.predict", model, "--json", *asked).check().stdout.splitlines()
    assert [json.loads(line)["file"] for line in answers] == asked
    assert {json.loads(line)["label"] for line in answers} <= set(raw.SEEN + raw.LATER)
