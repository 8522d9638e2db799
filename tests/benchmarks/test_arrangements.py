"""Layouts of benchmarks made of real archives: what lies where, and that datasets read it."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter

import numpy as np
import pytest
import soundfile
from arranged import listed
from PIL import Image

from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from benchmarks import arrangements


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
        archive.writestr("t.csv", "site,case_id,A_rnaseq\n0,P0,1\n0,P0,1.5\n3,P1,2\n4,P2,3\n")
    arrangements.patients(tmp_path)
    rows = [
        list(csv.DictReader((tmp_path / f"unseen/{i}.csv").read_text().splitlines()))
        for i in range(arrangements.ASKED)
    ]
    assert rows == [
        [{"site": "0", "case_id": "P0", "A_rnaseq": "1"}],
        [{"site": "3", "case_id": "P1", "A_rnaseq": "2"}],
    ]


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
    assert values.size == 3 * count * 3 * 4096
    assert values.std() == pytest.approx(1, rel=0.01)
    assert len(list((folder / "unseen").iterdir())) == arrangements.ASKED


def test_a_list_that_is_not_published_is_made_up_and_all_features_are_packed(folder):
    source = folder / "raw/AVCA/sets/VGGSound"
    lists = source / "class-split/cls_split"
    lists.mkdir(parents=True)
    labels = {"train": ("dog, barking", "wind"), "val_seen": ("wind",), "val_unseen": ("owl",)}
    for name, mine in labels.items():
        (lists / f"stage_1_{name}.txt").write_text("".join(f"{label}\n" for label in mine))
        if name != "train":
            lines = ["filename,label", *(f"{name}{i},{mine[0]}" for i in range(5))]
            (lists / f"stage_1_{name}.csv").write_text("\n".join(lines) + "\n")
    words = ("dog, barking", "wind", "owl")
    lines = ["original,manual", *(f'"{word}",{word[:3]}' for word in words)]
    (source / "class-split/vggsound_w2v_class_names.csv").write_text("\n".join(lines) + "\n")
    vectors = {word[:3]: np.eye(3, dtype=np.float32)[i] for i, word in enumerate(words)}
    np.save(folder / "raw/AVCA/word_embeddings_vggsound_normed.npy", vectors)
    arrangements.clip_features(folder, "VGGSound", feature_set="main", clips=2)
    options = {"benchmark": "vggsound", "stage": 1, "feature_set": "main"}
    items, fields = listed("avca", folder, **options)
    assert sorted(items) == sorted(
        [(label, "train") for label in labels["train"]] * 2 + [("wind", "val"), ("owl", "val")] * 2
    )
    assert {len(one["audio_features"]) for one in fields} == {3 * 512}
    assert len(list((folder / "unseen").glob("val_unseen*.npz"))) == arrangements.ASKED


def test_clips_are_named_after_a_list_of_actions(folder):
    lists = folder / "raw/AVCA/sets/UCF/class-split/cls_split"
    lists.mkdir(parents=True)
    (folder / "raw/grid_s1_mp4").mkdir()
    for i in range(15):
        (folder / f"raw/grid_s1_mp4/{i}.mp4").write_bytes(b"")
    for name in ("train", "val_unseen"):
        lines = ["filename,label", *(f"{name}{i},{'ab'[i % 2]}" for i in range(20))]
        (lists / f"stage_1_{name}.csv").write_text("\n".join(lines) + "\n")
    arrangements.actions(folder)
    kept = [f"{name}{i}" for name in ("train", "val_unseen") for i in range(6)]
    assert sorted(path.stem for path in folder.glob("raw/AVCA/sets/UCF/clips/*")) == sorted(kept)
    rows = (lists / "stage_1_train.csv").read_text().splitlines()
    assert sorted(row.partition(",")[0] for row in rows[1:]) == [f"train{i}" for i in range(6)]
    assert len(list((folder / "unseen").iterdir())) == arrangements.ASKED


def write_picture(path, color, size=(40, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def pixels(field):
    return np.asarray(Image.open(io.BytesIO(field["image"])))


def test_pictures_become_binary_batches(folder):
    colors = {"cat": (250, 10, 20), "ship": (10, 20, 250)}
    for split, count in (("train", 6), ("test", 3)):
        for label, color in colors.items():
            for i in range(count):
                write_picture(folder / f"raw/{split}/{label}/{i}.png", color, (32, 32))
    arrangements.binary_batches(folder)
    items, fields = listed("cifar_binary", folder)
    assert Counter(items) == {
        (label, split): count
        for label in colors
        for split, count in (("train", 6), ("test", 3))
    }
    for (label, _), field in zip(items, fields, strict=True):
        assert (pixels(field) == colors[label]).all()
    assert len(list((folder / "unseen").iterdir())) == arrangements.ASKED


@pytest.mark.parametrize(("names", "labels"), [("fine", 7), ("coarse", 2)])
def test_pictures_become_batches_with_two_labels(folder, names, labels):
    for part, count in (("train", 2), ("val", 1)):
        for number in range(7):
            for i in range(count):
                write_picture(folder / f"raw/tiny/{part}/n{number}/{i}.png", (30 * number, 0, 99))
    arrangements.hundred_batches(folder)
    items, fields = listed("cifar_binary", folder, label_names=names)
    assert len({label for label, _ in items}) == labels
    assert Counter(split for _, split in items) == {"train": 14, "test": 7}
    for (label, _), field in zip(items, fields, strict=True):
        number = pixels(field)[0, 0, 0] // 30
        assert label == (f"n{number}" if names == "fine" else f"coarse_{number // 5}")


def test_animals_are_told_by_their_numbers(folder):
    for name in ("n02002724_stork", "n02655020_puffer", "n02676566_guitar", "LICENSE"):
        write_picture(folder / f"raw/sample/{name}.png", (1, 2, 3))
    arrangements.living(folder)
    found = sorted(str(path.relative_to(folder / "raw")) for path in folder.glob("raw/*/*"))
    assert found == [
        "animal/n02002724_stork.png", "animal/n02655020_puffer.png", "other/n02676566_guitar.png",
    ]  # fmt: skip


def write_tones(folder, names):
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        tone = 0.5 * np.sin(2 * np.pi * (200 + 20 * i) * np.arange(4000) / 8000)
        soundfile.write(folder / f"{name}.wav", tone, 8000)


def test_sounds_become_a_table_of_folds(folder):
    for label in ("cow", "dog"):
        write_tones(folder / f"raw/animals/{label}", [f"{label}{i}" for i in range(6)])
    arrangements.environments(folder)
    items, _ = listed("esc50", folder, sample_rate=8000, test_fold=1)
    assert Counter(items) == {
        (label, split): count
        for label in ("cow", "dog")
        for split, count in (("train", 4), ("test", 2))
    }


def test_digits_become_words_with_lists(folder):
    write_tones(folder / "raw/recordings", [f"{d}_ann_{i}" for d in (3, 7) for i in (0, 5, 9, 10)])
    arrangements.words(folder)
    items, _ = listed("speech_commands", folder, sample_rate=8000)
    assert Counter(items) == {
        (label, split): count
        for label in ("3", "7")
        for split, count in (("train", 1), ("val", 2), ("test", 1))
    }


def test_digits_are_written_in_all_formats(folder):
    write_tones(folder / "raw/recordings", [f"7_ann_{i}" for i in range(len(arrangements.FORMATS))])
    arrangements.formats(folder)
    items, fields = listed("sound_folder", folder, sample_rate=8000)
    assert [label for label, _ in items] == ["7"] * len(arrangements.FORMATS)
    suffixes = {path.suffix for path in folder.glob("raw/7/*")}
    assert suffixes == {".wav", ".flac", ".ogg", ".mp3"}
    for one in fields:
        assert len(one["audio"]) == pytest.approx(4000, abs=1200)  # MP3 pads.
        assert np.abs(one["audio"]).max() == pytest.approx(16384, rel=0.1)


def test_pairs_become_kittis(folder):
    source = folder / "raw/chairs"
    flow = np.zeros((6, 8, 2), np.float32)
    flow[..., 0], flow[2:, :, 1], flow[0, 0] = 3.25, -1.5, 0.01
    for frame in (0, 1):
        write_picture(source / f"0000000-img{frame}.ppm", (9, 8, frame), (8, 6))
    header = np.float32(202021.25).tobytes() + np.int32([8, 6]).tobytes()
    (source / "0000000-gt.flo").write_bytes(header + flow.tobytes())
    arrangements.kitti(folder)
    _, (field,) = listed("kitti2015", folder)
    known = np.ones((6, 8), bool)
    known[0, 0] = False  # All but still.
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(field["valid"]))) > 0, known)
    found = np.frombuffer(field["flow"], "<f4").reshape(6, 8, 2)
    np.testing.assert_array_equal(found, flow * known[..., None])


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
