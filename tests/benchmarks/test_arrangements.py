"""Layouts of benchmarks made of real archives: what lies where, and that datasets read it."""

from __future__ import annotations

import csv
import zipfile

import numpy as np
import pytest

from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from benchmarks import arrangements


@pytest.fixture
def folder(tmp_path):
    """A row's folder before it is arranged."""
    for part in ("raw", "unseen"):
        (tmp_path / part).mkdir()
    return tmp_path


def listed(dataset, folder, root="raw", **options):
    """[(label, split)] of what a dataset lists, and the fields of each item."""
    made, options, root = DATASETS[dataset], ReadOptions(**options), str(folder / root)
    items = made.list_items(root, options).items
    found = [made.read_item(root, item, options) for item in items]
    return [(item.label, item.split) for item in items], found


def test_clips_are_named_after_segments(tmp_path):
    for kind, suffix in (("mp4_128", "mp4"), ("mpg", "mpg")):
        (tmp_path / f"raw/grid_s1_{kind}").mkdir(parents=True)
        for index in range(14):
            (tmp_path / f"raw/grid_s1_{kind}/clip{index}.{suffix}").write_bytes(b"")
    (tmp_path / "raw/audioset").mkdir()
    for name in ("balanced_train", "eval"):
        lines = [f'{name}{i}, 30.000, 40.000, "/m/1"' for i in range(30)]
        text = "\n".join(["# Segments csv", *lines])
        (tmp_path / f"raw/audioset/{name}_segments.csv").write_text(text)
    arrangements.segments(tmp_path)
    found = {
        split: sorted(file.stem for file in (tmp_path / "raw" / split).iterdir())
        for split in ("train", "eval")
    }
    assert found["train"] == sorted(f"balanced_train{i}_30" for i in range(16))
    assert found["eval"] == sorted(f"eval{i}_30" for i in range(8))
    assert not list(tmp_path.glob("raw/grid_s1_*/*"))


def test_patients_of_their_own_have_the_tables_header(tmp_path):
    (tmp_path / "raw/t").mkdir(parents=True)
    (tmp_path / "unseen").mkdir()
    with zipfile.ZipFile(tmp_path / "raw/t/t.csv.zip", "w") as archive:
        archive.writestr("t.csv", "case_id,A_rnaseq\nP0,1\nP1,2\nP2,3\n")
    arrangements.patients(tmp_path)
    rows = [
        list(csv.DictReader((tmp_path / f"unseen/{i}.csv").read_text().splitlines()))
        for i in range(arrangements.ASKED)
    ]
    assert rows == [[{"case_id": "P0", "A_rnaseq": "1"}], [{"case_id": "P1", "A_rnaseq": "2"}]]


def test_clips_lie_in_a_folder_for_each_command(folder):
    (folder / "raw/grid_s1_mp4").mkdir()
    for name in [f"b{i:02d}" for i in range(20)] + ["sa", "sb"]:
        (folder / f"raw/grid_s1_mp4/{name}.mp4").write_bytes(b"")
    arrangements.commands(folder)
    found = {path.name: len(list(path.iterdir())) for path in (folder / "raw").iterdir()}
    assert found == {"b": arrangements.CLIPS, "s": 2}


def test_features_are_those_of_the_clips_that_the_lists_name(folder):
    ucf = folder / "raw/AVCA/sets/UCF"
    lists = ucf / "class-split/cls_split"
    lists.mkdir(parents=True)
    for name, label in (("train", "Archery"), ("val_seen", "Archery"), ("val_unseen", "Bowling")):
        lines = ["filename,label_code,label", *(f"{name}{i:02d},1,{label}" for i in range(20))]
        (lists / f"stage_1_{name}.csv").write_text("\n".join(lines) + "\n")
        (lists / f"stage_1_{name}.txt").write_text(f"{label}\n")
    names = "original,manual\nArchery,archery\nBowling,bowling\n"
    (ucf / "class-split/ucf_w2v_class_names.csv").write_text(names)
    vectors = {"archery": np.ones(4, np.float32), "bowling": -np.ones(4, np.float32)}
    np.save(folder / "raw/AVCA/word_embeddings_ucf_normed.npy", vectors)
    arrangements.clip_features(folder)
    items, fields = listed("avca", folder, benchmark="ucf", stage=1)
    count = arrangements.CLIPS
    assert items == [("Archery", "train")] * count + [("Archery", "val")] * count + [
        ("Bowling", "val")
    ] * count
    values = np.concatenate([one["video_features"] for one in fields])
    assert values.size == 3 * count * 4 * 4096
    assert values.std() == pytest.approx(1, rel=0.01)
    assert len(list((folder / "unseen").iterdir())) == arrangements.ASKED


def test_stays_have_the_columns_of_the_other_benchmark(folder, monkeypatch):
    monkeypatch.setattr(arrangements, "STAYS", {"train": 1, "test": 2})
    (folder / "raw/set-a").mkdir()
    header, died = "Time,Parameter,Value\n", ["RecordID,SAPS-I,In-hospital_death"]
    for record in range(4):
        died.append(f"{record},5,{record % 2}")
        lines = f"00:00,RecordID,{record}\n00:00,Height,-1\n00:00,Age,50\n00:30,HR,7{record}\n"
        lines += "00:30,Urine,100\n47:15,Temp,36.5\n47:15,HR,80\n47:20,Lactate,2\n"
        (folder / f"raw/set-a/{record}.txt").write_text(header + lines)
    (folder / "raw/Outcomes-a.txt").write_text("\n".join(died) + "\n")
    arrangements.stays(folder)
    items, fields = listed("mimic3_mortality", folder)
    assert items == [("survived", "train"), ("died", "test"), ("survived", "test")]
    np.testing.assert_allclose(fields[1]["hour"], [0.5, 47.25, 47.25])
    np.testing.assert_allclose(fields[1]["value"], [71, 80, 36.5])
    names = [DATASETS["mimic3_mortality"].properties(ReadOptions())["names"][i]
             for i in fields[1]["variable"]]  # fmt: skip
    assert names == ["Heart Rate", "Heart Rate", "Temperature"]
    assert sorted(path.name for path in (folder / "raw").iterdir()) == ["test", "train"]
    assert len(list((folder / "unseen").iterdir())) == 2


def test_every_slide_but_each_tenth_has_patches(folder):
    (folder / "raw/t/splits").mkdir(parents=True)
    lines = ["case_id,slide_id,survival_months,censorship,A_rnaseq"]
    lines += [f"P{i},S{i}.svs,5,1,0.5" for i in range(20)]
    with zipfile.ZipFile(folder / "raw/t/t.csv.zip", "w") as archive:
        archive.writestr("t.csv", "\n".join(lines) + "\n")
    folds = "train,val\n" + "".join(f"P{i},\n" for i in range(19)) + ",P19\n"
    (folder / "raw/t/splits/0.csv").write_text(folds)
    arrangements.slides(folder)
    options = {"bags": "slides", "patch_width": arrangements.WIDTH, "test_fold": 1}
    _, fields = listed("tcga_brca", folder, "raw/t", **options)
    assert [i for i, one in enumerate(fields) if not len(one["patches"])] == [9, 19]
    assert (folder / "unseen/1.csv").exists()


def test_licences_without_an_extension_are_texts(folder, monkeypatch):
    packages = folder / "packages"
    for name in ("a-1.0.dist-info/LICENSE", "b/README.md"):
        (packages / name).parent.mkdir(parents=True)
        (packages / name).write_text("As is.")
    monkeypatch.setattr(arrangements, "_packages", lambda: packages)
    arrangements.texts(folder)
    listing = DATASETS["text_files"].list_items(str(folder / "raw"), ReadOptions())
    assert {item.path for item in listing.items} == {"a-1.0.dist-info-LICENSE.txt", "b-README.md"}
    assert listing.notes == []
    assert (folder / "unseen/README.md").exists()


def test_sentences_follow_from_those_they_are_among(folder, monkeypatch):
    packages = folder / "packages"
    packages.mkdir()
    for name in ("a/LICENSE", "b/README.md", "c/notes.md"):
        (packages / name).parent.mkdir()
        text = [f"Sentence number {i} of {name}, which\nis of the right length." for i in range(30)]
        (packages / name).write_text(" ".join(["Too short.", *text]))
    monkeypatch.setattr(arrangements, "_packages", lambda: packages)
    arrangements.entailments(folder)
    items, fields = listed("glue", folder, glue_task="rte")
    counts = arrangements.PAIRS
    assert [split for _, split in items] == ["train"] * counts["train"] + ["val"] * counts["dev"]
    for (label, _), one in zip(items, fields, strict=True):
        whole, said = one["text"].decode().split("\t")
        assert (said in whole) == (label == "entailment")
        assert whole.count("Sentence number") == 2
        assert "notes.md" not in whole + said
        assert "Too short" not in whole
    labels = [label for label, _ in items]
    assert 0.5 <= labels.count("entailment") / len(labels) < 0.6
    assert (folder / "unseen/0.txt").read_bytes().rstrip() == fields[counts["train"]]["text"]
