"""The way of a row from an archive to a prediction, and what is said where something is missing."""

from __future__ import annotations

import re
import tarfile

import numpy as np
import pytest
import soundfile

from benchmarks import modalities


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """A folder with `fsdd.tar.xz`: two digits by a speaker, of the official split's both parts."""
    folder = tmp_path_factory.mktemp("archives")
    recordings = folder / "recordings"
    recordings.mkdir()
    times = np.arange(2000) / 8000
    for digit, hertz in ((3, 400), (7, 1500)):
        for index in range(3, 11):
            tone = 0.5 * np.sin(2 * np.pi * hertz * (1 + index / 100) * times)
            soundfile.write(recordings / f"{digit}_ann_{index}.wav", tone, 8000)
    with tarfile.open(folder / "fsdd.tar.xz", "w:xz") as archive:
        archive.add(recordings, "recordings")
    return folder


def test_a_row_runs_from_its_archive_to_a_prediction(archives, command, tmp_path):
    def execute(words, log):
        result = command(*words, timeout=300)
        log.write(result.stderr)
        return result.returncode, result.stdout

    row = modalities.ROWS["FSDD"]
    outcome, seconds = modalities.run(row, archives, tmp_path / "row", execute)
    log = (tmp_path / "row/log.txt").read_text()
    assert re.match(r"4 examples, accuracy [01]", outcome), log
    assert seconds > 0
    assert [line.split()[3] for line in log.splitlines() if line.startswith("$")] == [
        "beam_preprocess.run", "beam_preprocess.verify", "tf_perceiver.train",
        "tf_perceiver.evaluate", "tf_perceiver.export", "tf_perceiver.predict",
    ]  # fmt: skip
    assert f"--input={tmp_path}/row/raw/recordings" in log  # All that the archive has.
    assert "7_ann_10.wav" in log.split("tf_perceiver.predict")[-1]


def test_a_step_that_fails_ends_the_row(archives, tmp_path):
    asked = []

    def execute(words, log):
        asked.append(words[0])
        return (3 if words[0] == "tf_perceiver.train" else 0), ""

    row = modalities.ROWS["FSDD"]
    outcome, _ = modalities.run(row, archives, tmp_path / "row", execute)
    assert outcome == f"train FAILED with 3; see {tmp_path / 'row'}/log.txt"
    assert asked[-1] == "tf_perceiver.train"


def test_rows_without_their_archives_are_named(archives, tmp_path, capsys):
    flags = [f"--data={archives}", f"--output={tmp_path}", "--only=TCGA-BRCA"]
    assert modalities.main(flags) == 2
    said = capsys.readouterr()
    assert "no tcga_brca.tar.xz" in said.out
    assert said.err == f"error: --data={archives}: no archive of any row is there\n"


def test_every_row_names_a_dataset_and_a_config():
    from beam_preprocess import datasets
    from configs import base

    for row in modalities.ROWS.values():
        assert row.dataset in datasets.DATASETS
        name, variant = row.config.split(":")
        assert (modalities.Path(base.__file__).parent / f"{name}.py").exists()
        assert variant.partition("_")[0] == "tiny"
