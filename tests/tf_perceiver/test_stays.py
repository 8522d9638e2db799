"""Stays of intensive care, from raw files to a served model's answer and the report."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from pipelines.readers import series
from pipelines.records import DatasetInfo

HEADER = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"


@dataclasses.dataclass(frozen=True)
class Stays:
    """Raw files, the workdir that was trained on them, and the folder of its export."""

    raw: pathlib.Path
    data: pathlib.Path
    workdir: pathlib.Path
    exported: pathlib.Path


def stay(record: int) -> str:
    """Who dies (odd records) has a fast pulse; some stays are longer than the model's 64."""
    draw = np.random.default_rng(record)
    rows = ["Time,Parameter,Value", f"00:00,RecordID,{record}", "00:00,Age,60", "00:00,Height,-1"]
    rows.append(f"00:00,ICUType,{1 + record % 4}")
    for hour in range(int(draw.integers(3, 48))):
        rows.append(f"{hour:02}:00,HR,{80 + 50 * (record % 2) + draw.normal(0, 5):.0f}")
        rows.append(f"{hour:02}:10,Urine,{draw.integers(0, 200)}")
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="session")
def stays(fork_server, checkout, tmp_path_factory) -> Stays:
    """A hundred and twenty stays, through all commands."""
    root = tmp_path_factory.mktemp("stays")
    found = Stays(root / "raw", root / "data", root / "workdir", root / "exported")
    (found.raw / "set-a").mkdir(parents=True)
    records = range(132500, 132620)
    rows = "".join(f"{record},6,1,5,-1,{record % 2}\n" for record in records)
    (found.raw / "Outcomes-a.txt").write_text(HEADER + rows)
    for record in records:
        (found.raw / f"set-a/{record}.txt").write_text(stay(record))
    for module, *arguments in (
        ("beam_preprocess.run", "--dataset=physionet2012", f"--input={found.raw}",
         f"--output={found.data}", "--shards=2"),
        ("tf_perceiver.train", "--config=configs/physionet2012.py:tiny", f"--data={found.data}",
         f"--workdir={found.workdir}"),
        ("tf_perceiver.export", f"--workdir={found.workdir}", f"--output={found.exported}"),
    ):  # fmt: skip
        fork_server.start(module, arguments, cwd=checkout).wait(300).check()
    return found


def rows(stays: Stays, kind: str) -> list[dict]:
    lines = (stays.workdir / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def test_evaluation_ranks_the_whole_split_as_the_served_model_does(stays, command):
    said = command("tf_perceiver.evaluate", f"--workdir={stays.workdir}").check().stdout
    found = json.loads(said.splitlines()[-1])
    info = DatasetInfo.read(str(stays.data))
    assert found["examples"] == info.split("test").records
    last = rows(stays, "eval")[-1]
    for name in ("auroc", "auprc", "auroc_low", "auprc_high"):
        assert found[name] == pytest.approx(last[name], abs=1e-6)
    assert 0 <= found["auroc_low"] <= found["auroc"] <= found["auroc_high"] <= 1
    # A pulse of 130 is told from one of 80 after twenty steps.
    assert found["auroc"] > 0.9
    assert found["auprc"] > 0.8


def served(stays: Stays, files: list[pathlib.Path]) -> np.ndarray:
    """Probabilities of death of several stays in one batch, padded."""
    found = [series.read(file.read_bytes(), file.name, "physionet2012") for file in files]
    longest = max(len(one.hours) for one in found)

    def padded(field: str, fill: float) -> tf.Tensor:
        arrays = [getattr(one, field) for one in found]
        return tf.constant(
            np.stack([np.pad(a, (0, longest - len(a)), constant_values=fill) for a in arrays])
        )

    serve = tf.saved_model.load(str(stays.exported / "20")).signatures["serving_default"]
    answer = serve(
        hour=padded("hours", 0), variable=padded("variables", -1), value=padded("values", 0)
    )
    return answer["probabilities"].numpy()[:, 1]


def test_a_patient_s_risk_is_printed(stays, command, tmp_path):
    files = [stays.raw / f"set-a/{record}.txt" for record in (132500, 132501, 132502, 132503)]
    renamed = tmp_path / "patient.csv"
    renamed.write_bytes(files[3].read_bytes())
    files[3] = renamed
    lines = command("tf_perceiver.predict", f"--model={stays.exported}", *files).check().stdout
    expected = served(stays, files)
    for file, line, risk in zip(files, lines.splitlines(), expected, strict=True):
        (told,) = re.fullmatch(re.escape(str(file)) + r": died (\d\.\d{4})", line).groups()
        assert float(told) == pytest.approx(risk, abs=6e-5)
    assert min(expected[1::2]) > max(expected[::2])
    row = json.loads(
        command("tf_perceiver.predict", f"--model={stays.exported}", "--json", renamed)
        .check()
        .stdout
    )
    assert row == {"file": str(renamed), "died": pytest.approx(expected[3], abs=1e-6)}


def test_files_that_are_no_stays_are_told_from_those_that_are(stays, command, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("Time,Parameter,Value\n00:00,Age,54\n")
    good = stays.raw / "set-a/132500.txt"
    result = command(
        "tf_perceiver.predict", f"--model={stays.exported}", empty, good, tmp_path / "cat.png"
    )
    assert result.returncode == 2
    assert result.stdout.startswith(f"{good}: died ")
    assert f"error: {empty} measures nothing" in result.stderr
    assert "cat.png is an image, the model takes a series of measurements" in result.stderr


def test_the_export_says_what_its_variables_are(stays):
    properties = json.loads((stays.exported / "20/assets/properties.json").read_text())
    assert (properties["modality"], properties["task"]) == ("series", "mortality")
    assert properties["names"][properties["variables"] - 1] == "WBC"


def test_the_report_has_the_areas_and_the_curves(stays):
    text = (stays.workdir / "report/index.html").read_text()
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))
    last = rows(stays, "eval")[-1]
    interval = f"{last['auroc_low']:.3f} to {last['auroc_high']:.3f}"
    assert f"{last['auroc']:.3f} area under the ROC curve on test (95 %: {interval})" in words
    assert f"{last['auprc']:.3f} average precision on test" in words
    for section in ("Ranking", "Probabilities", "Stays", "Where the model looks"):
        assert section in words
    for name in ("ranking", "stays", "auroc", "auprc", "loss"):
        assert (stays.workdir / f"report/{name}.png").stat().st_size > 5_000
    assert re.search(r"HR \d+\.\d % \d+\.\d %", words)


def test_records_of_other_variables_are_named(stays, command, tmp_path):
    result = command(
        "tf_perceiver.train", "--config=configs/mimic3_mortality.py:tiny", f"--data={stays.data}",
        f"--workdir={tmp_path / 'workdir'}",
    )  # fmt: skip
    assert result.returncode == 2
    assert "config.data.series.layout=mimic3, the records of 'physionet2012' have" in result.stderr
