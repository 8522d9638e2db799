"""Survival from a zipped table to a prediction: every command on patients that the test invents.

Once from profiles alone, once with patch features of the patients' slides beside them.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines.records import DatasetInfo
from tf_perceiver.tasks.survival import concordance_index

GENES = [f"G{i}_rnaseq" for i in range(12)] + [f"C{i}_cnv" for i in range(6)] + ["TP53_mut"]
PATIENTS = 150
WIDTH = 6  # Of a patch.
SIZES = ("tokens", 4), ("width", 7)  # The groups of `GENES`, the mutation among them.


def write_raw(root) -> list[list[str]]:
    """Patients, some with two slides, who die the sooner the more their first genes are read."""
    draw = np.random.default_rng(0)
    values = draw.normal(size=(PATIENTS, len(GENES)))
    values[:, 12:18] = draw.integers(-2, 3, (PATIENTS, 6))
    values[:, 18] = draw.integers(0, 2, PATIENTS)
    died = draw.exponential(40 * np.exp(-values[:, :5].sum(1)))
    seen = draw.uniform(1, 100, PATIENTS)
    header = ["case_id", "slide_id", "survival_months", "censorship", *GENES]
    rows = []
    for i in range(PATIENTS):
        time = min(died[i], seen[i]) + 0.01
        cells = ["" if draw.random() < 0.02 else f"{value:.4f}" for value in values[i]]
        for slide in range(1 + (i % 10 == 0)):
            survival = [f"{time:.2f}", str(float(died[i] > seen[i]))]
            rows.append([f"P{i:03d}", f"P{i:03d}-{slide}.svs", *survival, *cells])
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    (root / "splits").mkdir(parents=True)
    with zipfile.ZipFile(root / "patients.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("patients.csv", text.getvalue())
    (root / "signatures.csv").write_text("Signalling\n" + "".join(f"G{i}\n" for i in range(5)))
    for fold in range(5):
        lines = ["train,val"]
        lines += [f",P{i:03d}" if i % 5 == fold else f"P{i:03d}," for i in range(PATIENTS)]
        (root / f"splits/splits_{fold}.csv").write_text("\n".join(lines) + "\n")
    return [header, *rows]


def write_bags(root, rows) -> None:
    """From 1 to 12 patches of each slide; every seventh patient has none."""
    (root / "slides").mkdir()
    draw = np.random.default_rng(1)
    for number, row in enumerate(rows[1:]):
        if int(row[0][1:]) % 7:
            bag = draw.normal(size=(1 + number % 12, WIDTH)).astype(np.float16)
            np.save(root / f"slides/{row[1].removesuffix('.svs')}.npy", bag)


@pytest.mark.parametrize(("likelihood", "bags"), [("cox", False), ("discrete", True)])
def test_from_a_table_to_a_prediction(tmp_path, command, likelihood, bags):
    rows = write_raw(tmp_path / "raw")
    data, workdir = tmp_path / "data", tmp_path / "run"
    flags = []
    if bags:
        write_bags(tmp_path / "raw", rows)
        flags = ["--bags=slides", f"--patch_width={WIDTH}", "--max_patches=10"]
    command(
        "beam_preprocess.run", "--dataset=tcga_brca", f"--input={tmp_path / 'raw'}",
        f"--output={data}", "--test_fold=2", "--shards=1", *flags,
    ).check()  # fmt: skip
    command("beam_preprocess.verify", data).check()
    info = DatasetInfo.read(str(data))
    assert (info.split("train").records, info.split("test").records) == (120, 30)
    sizes = [len(columns) for columns in info.properties["groups"].values()]
    assert (("tokens", len(sizes)), ("width", max(sizes))) == SIZES
    parts = ("data.omics", "model.inputs")
    if bags:
        parts = ("data.omics_patches.omics", "model.inputs.modalities.omics")
    overrides = [f"--config.{part}.{name}={size}" for name, size in SIZES for part in parts]
    if bags:
        overrides.append(f"--config.data.omics_patches.patches.patch_width={WIDTH}")
    config = "configs/tcga_brca.py:tiny" + ("_bags" if bags else "")
    command(
        "tf_perceiver.train", f"--config={config}", f"--data={data}",
        f"--workdir={workdir}", f"--config.task.likelihood={likelihood}", *overrides,
    ).check()  # fmt: skip

    command("tf_perceiver.evaluate", f"--workdir={workdir}").check()
    metrics = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    evaluated = [row for row in metrics if row["kind"] == "eval"][-1]
    assert evaluated["examples"] == 30
    pictures = {file.stem for file in (workdir / "report").glob("*.png")}
    assert {"survival_halves", "survival_patients", "attention", "c_index"} <= pictures

    told = command("tf_perceiver.export", f"--workdir={workdir}").check().stdout
    assert "predict --model=" in told
    assert ("FILE.csv --bags=FOLDER" if bags else "FILE.csv") in told
    files, asked = [], {}
    for row in rows[1:]:
        if int(row[0][1:]) % 5 == 1 and row[0] not in asked:
            files.append(tmp_path / f"{row[0]}.csv")
            mine = [",".join(one) for one in rows if one[0] in ("case_id", row[0])]
            files[-1].write_text("\n".join(mine) + "\n")
            asked[row[0]] = row
    bad = tmp_path / "several.csv"
    bad.write_text("\n".join(",".join(row) for row in rows[:4]) + "\n")
    predict = ["tf_perceiver.predict", f"--model={workdir / 'saved_model'}"]
    predict.append(f"--output={tmp_path / 'curves'}")
    if bags:
        refused = command(*predict, files[0])
        assert refused.returncode == 2
        assert "the model reads patches too; name their folder with --bags" in refused.stderr
        predict.append(f"--bags={tmp_path / 'raw/slides'}")
        # A patient whose table names a slide must have it.
        without = [file for file in files if int(file.stem[1:]) % 7 == 0]
        refused = command(*predict, *without)
        assert refused.returncode == 2
        assert refused.stderr.count("error: ") == len(without) > 1
        assert f"{without[0].stem} or its slide {without[0].stem}-0.svs" in refused.stderr
        for file in without:
            file.write_text(re.sub(r"[^,\n]*\.svs", "", file.read_text()))
    told = command(*predict, "--json", *files).check().stdout.splitlines()
    answers = [json.loads(line) for line in told]
    assert [answer["file"] for answer in answers] == list(map(str, files))
    for answer in answers:
        shares = [point["survival"] for point in answer["curve"]]
        months = [point["months"] for point in answer["curve"]]
        assert shares == sorted(shares, reverse=True)
        assert months == sorted(months)
        assert 0 <= shares[-1] <= shares[0] <= 1
        assert answer["picture"] == f"{tmp_path}/curves/{Path(answer['file']).stem}_survival.png"
        drawn = np.asarray(Image.open(answer["picture"]).convert("RGB")).astype(int)
        assert (drawn[..., 2] - drawn[..., 0] > 100).any()  # The curve is blue.
    # The raw files asked one by one are as well ordered as the evaluation found the split.
    times, censored = np.array([row[2:4] for row in asked.values()], float).T
    risks = [answer["risk"] for answer in answers]
    index = concordance_index(times.astype(np.float32), 1 - censored, risks)
    assert index == pytest.approx(evaluated["c_index"], abs=0.005)

    result = command(*predict, files[0], bad)
    assert result.returncode == 2
    assert re.fullmatch(
        re.escape(str(files[0]))
        + r": risk -?\d+\.\d{4}; survival (\d+ months \d+\.\d %(, )?)+; \S+_survival.png\n",
        result.stdout,
    )
    assert f"error: {bad} has 2 patients; give each a file of its own" in result.stderr

    # As a client asks, values missing and all.
    serve = tf.saved_model.load(str(workdir / "saved_model/20")).signatures["serving_default"]
    columns = [column for group in info.properties["groups"].values() for column in group]
    place = {name: i for i, name in enumerate(rows[0])}
    row = next(iter(asked.values()))
    values = [float(row[place[column]] or "nan") for column in columns]
    further = {}
    if bags:
        slide = np.load(tmp_path / f"raw/slides/{row[1].removesuffix('.svs')}.npy")
        assert len(slide) <= 10
        padded = np.vstack([slide, np.full((3, WIDTH), np.nan)])
        further["patches"] = tf.constant(padded[None], tf.float32)
    else:  # The other model says why not.
        refused = command(*predict, "--bags=.", files[0])
        assert "--bags=.: the model takes a table alone, no patches" in refused.stderr
    said = serve(omics=tf.constant([values], tf.float32), **further)
    assert float(said["risk"][0]) == pytest.approx(answers[0]["risk"], abs=1e-5)
