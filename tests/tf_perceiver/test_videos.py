"""Videos from raw files to answers, by the commands: GRID and AudioSet."""

from __future__ import annotations

import json

import clips
import numpy as np
import pytest

from tf_perceiver.serving import standalone

COMMANDS = {"b": (0.2, 0.4), "l": (0.4, 0.6), "p": (0.6, 0.8), "s": (0.8, 1.0)}
GRID_FLAGS = ("--dataset=grid", "--sample_rate=16000", "--frame_size=48", "--shards=2")


def clip(beep: tuple[float, float], silent: bool = False) -> bytes:
    """1.6 s with a flash and a beep at that time."""
    sound = clips.tone(16_000, 1.6, beep)
    return clips.encoded(times=clips.regular(1.6), sound=sound, flash=beep, silent=silent)


@pytest.fixture(scope="module")
def grid_files(tmp_path_factory):
    """24 sentences, the command told by when flash and beep come."""
    raw = tmp_path_factory.mktemp("grid") / "raw"
    raw.mkdir()
    made = {command: clip(beep) for command, beep in COMMANDS.items()}
    for letter in "acegik":
        for command, data in made.items():
            (raw / f"{command}gat1{'anps'['blps'.index(command)]}".replace("t", letter)
             ).with_suffix(".mp4").write_bytes(data)  # fmt: skip
    return raw


@pytest.fixture(scope="module")
def grid_records(grid_files, fork_server, checkout):
    records = grid_files.parent / "records"
    arguments = [*GRID_FLAGS, f"--input={grid_files}", f"--output={records}", "--test_fold=1"]
    fork_server.start("beam_preprocess.run", arguments, cwd=checkout).wait(300).check()
    return records


@pytest.mark.parametrize("variant", ["tiny", "tiny_video", "tiny_audio"])
def test_grid(variant, grid_files, grid_records, command, tmp_path):
    workdir = tmp_path / "workdir"
    command(
        "tf_perceiver.train", f"--config=configs/grid.py:{variant}", f"--data={grid_records}",
        f"--workdir={workdir}", timeout=400,
    ).check()  # fmt: skip
    assert (workdir / "report/index.html").exists()
    assert (workdir / "report/attention.png").exists() == (variant != "tiny")
    exported = command("tf_perceiver.export", f"--workdir={workdir}", timeout=400).check()
    assert "answers as the live model does" in exported.stdout
    files = sorted(str(path) for path in grid_files.glob("[bl]*.mp4"))[:3]
    silent, text = tmp_path / "silent.mp4", tmp_path / "text.mp4"
    silent.write_bytes(clip((0.2, 0.4), silent=True))
    text.write_text("no video")
    answered = command(
        "tf_perceiver.predict", f"--model={workdir / 'saved_model'}", "--json", *files, str(silent),
        str(text), timeout=200,
    )  # fmt: skip
    assert answered.returncode == 2
    rows = [json.loads(line) for line in answered.stdout.splitlines()]
    read = files if variant == "tiny_audio" else [*files, str(silent)]
    assert [row["file"] for row in rows] == read
    assert all(row["label"] in ("bin", "lay", "place", "set") for row in rows)
    assert f"error: {text}" in answered.stderr
    assert ("has no audio track" in answered.stderr) == (variant == "tiny_audio")
    if variant != "tiny_audio":  # The example client knows frames from nothing else.
        with pytest.raises(ValueError, match=r"takes frames_bytes.*, this client sends one of"):
            list(standalone.predict(workdir / "saved_model", files))


LABELS = "index,mid,display_name\n0,/m/a,Early\n1,/m/b,Late\n2,/m/c,Any\n"


@pytest.mark.parametrize("variant", ["tiny", "tiny_mel"])
def test_audioset(variant, command, tmp_path):
    raw, workdir = tmp_path / "raw", tmp_path / "workdir"
    raw.mkdir()
    (raw / "class_labels_indices.csv").write_text(LABELS)
    made = {
        "/m/a": clip((0.2, 0.4)), "/m/b": clip((1.0, 1.2)), "/m/c": clip((0.6, 0.8), silent=True)
    }  # fmt: skip
    for name, count in (("balanced_train", 9), ("eval", 6)):
        lines = ["# YTID, start_seconds, end_seconds, positive_labels"]
        for i in range(count):
            first = list(made)[i % 3]
            video = f"-{name[:4]}_____{i}"
            (raw / f"{video}_30.mp4").write_bytes(made[first])
            labels = ",".join(dict.fromkeys((first, "/m/c")))
            lines.append(f'{video}, 30.000, 40.000, "{labels}"')
        (raw / f"{name}_segments.csv").write_text("\n".join(lines))
    command(
        "beam_preprocess.run", "--dataset=audioset", f"--input={raw}", f"--output={tmp_path / 'r'}",
        "--sample_rate=16000", "--frame_size=32", "--shards=1", timeout=300,
    ).check()  # fmt: skip
    command("beam_preprocess.verify", str(tmp_path / "r"), timeout=200).check()
    command(
        "tf_perceiver.train", f"--config=configs/audioset.py:{variant}", f"--data={tmp_path / 'r'}",
        f"--workdir={workdir}", timeout=400,
    ).check()  # fmt: skip
    evaluated = command("tf_perceiver.evaluate", f"--workdir={workdir}", timeout=200).check()
    row = json.loads(evaluated.stdout.splitlines()[-1])
    assert row["examples"] == 6
    assert 0 < row["mean_average_precision"] <= 1
    assert np.isfinite(row["mean_auc"])  # Of the two labels that not every clip has.
    command("tf_perceiver.export", f"--workdir={workdir}", timeout=400).check()
    file = raw / "-eval_____0_30.mp4"
    answered = command(
        "tf_perceiver.predict", f"--model={workdir / 'saved_model'}", "--top_k=3", str(file),
        timeout=200,
    ).check()  # fmt: skip
    assert answered.stdout.startswith(f"{file}: ")
    assert all(label in answered.stdout for label in ("Early", "Late", "Any"))
