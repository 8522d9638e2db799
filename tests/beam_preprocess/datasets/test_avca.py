"""AVCA's benchmarks: what the lists say, and records end to end, from files like the real ones."""

from __future__ import annotations

import os
import pathlib
import shutil
import tarfile
from collections import Counter

import numpy as np
import pytest
import zero_shot_raw as raw

from beam_preprocess import run, verify
from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError
from pipelines.readers import Rejected
from pipelines.records import DatasetInfo, parser, unpack_floats

WIDTHS = {"audio_width": raw.AUDIO, "video_width": raw.VIDEO}
LISTS = "class-split/cls_split"
STORE = "features/cls_features"


def listed(root, stage=1, **options):
    return DATASETS["avca"].list_items(str(root), ReadOptions(stage=stage, **WIDTHS, **options))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    raw.write(root)
    return root


@pytest.fixture
def own(written, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(written, tmp_path / "own")
    return tmp_path / "own"


def test_a_stage_has_its_lists_classes_and_vectors(written):
    first, second = listed(written), listed(written, 2)
    assert first.labels == tuple(sorted(raw.SEEN + raw.LATER))
    assert first.unseen == set(raw.LATER)
    assert first.properties["unseen"] == sorted(raw.LATER)
    assert second.labels == tuple(sorted(raw.NAMES))
    assert second.unseen == set(raw.NEVER)
    assert Counter(item.split for item in first.items) == {"train": 72, "val": 18 + 42}
    assert Counter(item.split for item in second.items) == {"train": 135, "test": 27 + 15}
    vectors = unpack_floats(second.properties["word_vectors"])
    expected = [raw.vectors()[raw.CLASSES[label]] for label in second.labels]
    np.testing.assert_array_equal(vectors, expected)
    assert first.notes == second.notes == []


def test_classes_that_the_lists_dont_name_are_left_aside_and_capitals_dont_matter(own):
    names = own / LISTS / "stage_2_test_unseen.txt"
    names.write_text(names.read_text().replace(f"{raw.NEVER[0]}\n", ""))
    for list_ in own.glob(f"{LISTS}/stage_2_*"):
        list_.write_text(list_.read_text().replace("BabyCrawling", "babyCrawling"))
    found = listed(own, 2)
    assert raw.NEVER[0] not in found.labels
    assert "babyCrawling" in found.labels
    assert found.notes == ["5 clips of classes that the lists' .txt don't name were left aside"]
    place = found.labels.index("babyCrawling")
    vector = unpack_floats(found.properties["word_vectors"])[place]
    np.testing.assert_array_equal(vector, raw.vectors()["Baby Crawling"])


def replace(path, old, new):
    def change(root):
        file = root / path
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    return change


TRAIN, SEEN, UNSEEN = (f"stage_1_{name}" for name in ("train", "val_seen", "val_unseen"))
NAMES_FILE = "class-split/ucf_w2v_class_names.csv"
VECTORS_FILE = "w2v_features/word_embeddings_ucf_normed.npy"
CLIP = raw.clip(raw.SEEN[0], 3)
SPOILT = {
    "a clip in two lists": (
        replace(f"{LISTS}/{SEEN}.csv", raw.clip(raw.SEEN[0], 12), CLIP),
        f"clip {CLIP} is listed in stage_1_train and stage_1_val_seen",
    ),
    "a clip twice": (
        replace(f"{LISTS}/{TRAIN}.csv", raw.clip(raw.SEEN[0], 4), CLIP),
        f"clip {CLIP} is listed in stage_1_train twice",
    ),
    "a class on both sides": (
        replace(f"{LISTS}/{UNSEEN}.txt", raw.LATER[0], raw.SEEN[0]),
        f"class '{raw.SEEN[0]}' is seen and unseen in the lists of stage 1",
    ),
    "a class without a name": (
        replace(NAMES_FILE, "Archery,Archery\n", ""),
        f"class 'Archery' has no word vector: {NAMES_FILE} doesn't name it",
    ),
    "a class without a vector": (
        replace(NAMES_FILE, "Archery,Archery\n", "Archery,Shooting\n"),
        "class 'Archery' has no word vector: .*ucf_normed.npy has no 'Shooting'",
    ),
    "no names": (
        lambda root: (root / NAMES_FILE).unlink(),
        "no class-split/ucf_w2v_class_names.csv, there is none; --benchmark",
    ),
    "another benchmark": (
        lambda root: (root / NAMES_FILE).rename(
            root / "class-split/vggsound_w2v_class_names.csv"
        ),
        "no class-split/ucf_w2v_class_names.csv, there are vggsound; --benchmark says",
    ),
    "no list of classes": (
        lambda root: (root / f"{LISTS}/{SEEN}.txt").unlink(),
        f"no {LISTS}/{SEEN}.txt; unpack the benchmark again",
    ),
    "an empty list of classes": (
        lambda root: (root / f"{LISTS}/{SEEN}.txt").write_text("\n"),
        f"{SEEN}.txt names no class",
    ),
    "no list of clips": (
        lambda root: (root / f"{LISTS}/{SEEN}.csv").unlink(),
        f"no {LISTS}/{SEEN}.csv; unpack",
    ),
    "no column": (
        replace(f"{LISTS}/{SEEN}.csv", "filename,label,", "file,label,"),
        f"{SEEN}.csv: no column 'filename'",
    ),
    "a line without a class": (
        replace(f"{LISTS}/{SEEN}.csv", f"{raw.clip(raw.SEEN[0], 12)},{raw.SEEN[0]}", "x,"),
        f"{SEEN}.csv: line 2 has no label",
    ),
    "no text": (
        lambda root: (root / f"{LISTS}/{SEEN}.csv").write_bytes(b"\xff\xfe\x00"),
        f"{SEEN}.csv is no text in UTF-8",
    ),
    "no vectors": (
        lambda root: (root / VECTORS_FILE).unlink(),
        "no word_embeddings_ucf_normed.npy, the word vectors of the classes",
    ),
    "damaged vectors": (
        lambda root: (root / VECTORS_FILE).write_bytes(b"?"),
        "ucf_normed.npy: no file of np.save",
    ),
    "no features": (
        lambda root: shutil.rmtree(root / STORE),
        f"no features in {STORE}/; audio/LIST/CLASS.h5",
    ),
    "a clip's features twice": (
        lambda root: shutil.copytree(root / STORE, root / STORE / "again"),
        "are one clip",
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_what_is_wrong_with_the_lists_is_named(own, kind):
    spoil, message = SPOILT[kind]
    spoil(own)
    with pytest.raises(InputError, match=message) as caught:
        listed(own)
    assert "\n" not in str(caught.value)


def test_a_benchmark_is_found_at_any_depth_and_needs_its_features_alone(own, tmp_path):
    deep = tmp_path / "deep/avgzsl_benchmark_datasets/UCF"
    deep.parent.mkdir(parents=True)
    own.rename(deep)
    (deep / "w2v_features").rename(tmp_path / "deep/w2v_features")
    assert len(listed(tmp_path / "deep").items) == 132
    with pytest.raises(InputError, match="no .*class-split/main_split/stage_1_train.txt"):
        listed(tmp_path / "deep", feature_set="main")


def test_packs_give_what_single_files_give(written, tmp_path):
    raw.write(tmp_path, packs=True, stages=(1,))
    (tmp_path / LISTS / f"{TRAIN}.csv").unlink()  # As of VGGSound, whose lists are too large.
    single, packs = listed(written), listed(tmp_path)
    assert packs.notes == [
        f"there is no {LISTS}/{TRAIN}.csv: its 72 clips are those of the features"
    ]
    assert {(i.key, i.label, i.split) for i in packs.items} == {
        (i.key, i.label, i.split) for i in single.items
    }
    options, by_key = ReadOptions(**WIDTHS), {item.key: item for item in single.items}
    read = DATASETS["avca"].read_item
    for item in packs.items[::7]:
        found = read(str(tmp_path), item, options)
        rows = read(str(written), by_key[item.key], options)
        for name, width in (("audio_features", raw.AUDIO), ("video_features", raw.VIDEO)):
            np.testing.assert_allclose(
                found[name], rows[name].reshape(-1, width).mean(0), rtol=1e-5
            )


def test_a_clip_that_a_pack_lacks_is_rejected_when_it_is_read(tmp_path):
    raw.write(tmp_path, packs=True, stages=(1,))
    (tmp_path / STORE / f"video/{TRAIN}/{raw.SEEN[0]}.h5").unlink()
    items = [item for item in listed(tmp_path).items if item.label == raw.SEEN[0]]
    with pytest.raises(Rejected, match=f"{items[0].key}: not in .*video/{TRAIN}/") as caught:
        DATASETS["avca"].read_item(str(tmp_path), items[0], ReadOptions(**WIDTHS))
    assert caught.value.reason == "missing-features"
    (tmp_path / STORE / f"audio/{TRAIN}/{raw.SEEN[0]}.h5").write_bytes(b"?")
    with pytest.raises(InputError, match=f"{TRAIN}/{raw.SEEN[0]}.h5 is no HDF5 of features"):
        listed(tmp_path)


def test_records_are_made_verified_and_opened_by_tfds(own, tmp_path):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    lost, wide, empty = (raw.clip(raw.SEEN[1], number) for number in range(3))
    (own / STORE / f"{lost}.npz").unlink()
    np.savez(own / STORE / f"{wide}.npz", audio=np.ones(raw.AUDIO + 1), video=np.ones(raw.VIDEO))
    not_a_number = np.full((2, raw.VIDEO), np.nan)
    np.savez(own / STORE / f"{empty}.npz", audio=np.ones(raw.AUDIO), video=not_a_number)
    output = tmp_path / "records"
    flags = ["--dataset=avca", f"--input={own}", f"--output={output}", "--shards=2"]
    flags += [f"--{name}={width}" for name, width in WIDTHS.items()]
    info = run.run([*flags, "--max_reject_fraction=0.5"])
    assert info.rejects == {"missing-features": 1, "wrong-width": 1, "not-finite": 1}
    assert info.labels == tuple(sorted(raw.SEEN + raw.LATER))
    own_properties = {name: info.properties[name] for name in ("benchmark", "stage", *WIDTHS)}
    assert own_properties == {"benchmark": "ucf", "stage": 1, **WIDTHS}
    assert DatasetInfo.read(str(output)) == info
    assert verify.main([str(output)]) == 0

    train = info.statistics["train"]
    assert {train["label_counts"][label] for label in raw.LATER} == {0}
    assert train["label_counts"][raw.SEEN[1]] == 9
    files = [str(output / shard.name) for shard in info.split("train").shards]
    read = {
        record["key"].numpy().decode(): record
        for record in tf.data.TFRecordDataset(files).map(parser(info.features))
    }
    assert len(read) == 69
    found = read[raw.clip(raw.SEEN[0], 5)]
    expected = raw.features(raw.SEEN[0], 5)
    np.testing.assert_array_equal(found["audio_features"], expected["audio"].reshape(-1))
    np.testing.assert_array_equal(found["video_features"], expected["video"].reshape(-1))
    assert info.labels[found["label"]] == raw.SEEN[0]
    for modality in ("audio", "video"):
        values = np.concatenate([record[f"{modality}_features"] for record in read.values()])
        values = values.astype(np.float64)
        np.testing.assert_allclose(
            train["totals"][modality], [values.size, values.sum(), (values**2).sum()], rtol=1e-12
        )
    opened = tfds.builder_from_directory(str(output)).as_dataset("val")
    assert sum(1 for _ in opened) == 60


@pytest.mark.parametrize(
    ("benchmark", "folder", "stage", "splits", "unseen", "aside"),
    [
        ("ucf", "UCF", 1, (3174, 1820), 12, 0),
        ("ucf", "UCF", 2, (4994, 1400), 6, 422),
        ("activitynet", "ActivityNet", 1, (9204, 5330), 51, 0),
        ("activitynet", "ActivityNet", 2, (14534, 5667), 48, 147),
        ("vggsound", "VGGSound", 1, (0, 10919), 69, 0),
    ],
)
def test_the_published_lists(tmp_path, benchmark, folder, stage, splits, unseen, aside):
    data = pathlib.Path(os.environ.get("PERCEIVER_DATA") or "../shared/data")
    archive = data / "AVCA.tar.xz"
    if not archive.exists():
        pytest.skip(f"no {archive}; PERCEIVER_DATA names the folder that has it")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    (place,) = tmp_path.rglob(f"{folder}/class-split")
    # The features weren't published with the lists: the name of one is enough to go on.
    store = place.parent / "features/cls_features"
    if benchmark == "vggsound":  # Two of its lists aren't there either.
        file = store / f"audio/stage_{stage}_train/none.h5"
    else:
        file = store / "none.npz"
    file.parent.mkdir(parents=True)
    file.touch()
    options = ReadOptions(benchmark=benchmark, stage=stage)
    found = DATASETS["avca"].list_items(str(tmp_path), options)
    counts = Counter(item.split for item in found.items)
    assert (counts["train"], counts["val"] + counts["test"]) == splits
    assert len(found.unseen) == unseen
    assert unpack_floats(found.properties["word_vectors"]).shape == (len(found.labels), 300)
    assert sum("left aside" in note for note in found.notes) == bool(aside)
    assert aside == 0 or found.notes[0].startswith(f"{aside} clips")
