"""AVCA's benchmarks on clips: which are found, what is training where no list says it, records."""

from __future__ import annotations

import shutil
from collections import Counter

import clips
import pytest
import zero_shot_raw as raw

from beam_preprocess import run, verify
from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError

LISTS = "class-split/cls_split"
TRAIN = f"{LISTS}/stage_1_train.csv"
# Clips of a class that have a file, by list.
GIVEN = {"stage_1_train": 2, "stage_1_val_seen": 1, "stage_1_val_unseen": 1}


def named():
    """(list, class, clip) of every clip that has a file."""
    for name, count in GIVEN.items():
        labels, numbers = raw.LISTS[name]
        yield from ((name, label, raw.clip(label, i)) for label in labels for i in numbers[:count])


@pytest.fixture
def root(tmp_path):
    """Lists of ucf, and a file of some of their clips in folders of the classes' names."""
    raw.write(tmp_path / "raw")
    shutil.rmtree(tmp_path / "raw/features")
    video = clips.encoded(times=clips.regular(0.4), sound=clips.tone(16_000, 0.4))
    silent = clips.encoded(times=clips.regular(0.4), silent=True)
    for name, label, clip in named():
        file = tmp_path / f"raw/videos/{label}/{clip}.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(silent if name.endswith("unseen") else video)
    return tmp_path / "raw"


def listed(root, **options):
    return DATASETS["avca_clips"].list_items(str(root), ReadOptions(**options))


def test_the_lists_clips_that_have_files_are_found(root):
    found = listed(root)
    assert found.labels == tuple(sorted(raw.SEEN + raw.LATER))
    assert found.unseen == set(raw.LATER)
    assert {(item.key, item.label) for item in found.items} == {
        (clip, label) for _, label, clip in named()
    }
    assert Counter(item.split for item in found.items) == {"train": 12, "val": 6 + 3}
    assert found.notes == ["111 clips of the lists have no file: left aside"]  # Of 132.


def test_a_list_for_training_that_is_not_given_is_what_lies_in_folders_less_the_held_out(root):
    expected = {item.key: (item.label, item.split) for item in listed(root).items}
    (root / TRAIN).unlink()
    # Of another stage's test, and of a class that the list doesn't name.
    label = raw.SEEN[0]
    tested = raw.clip(label, raw.LISTS["stage_2_test_seen"][1][0])
    for path in (f"{label}/{tested}", "Nowhere/v_other"):
        (root / f"videos/{path}.mp4").parent.mkdir(exist_ok=True)
        shutil.copy(root / f"videos/{label}/{raw.clip(label, 0)}.mp4", root / f"videos/{path}.mp4")
    found = listed(root)
    assert {item.key: (item.label, item.split) for item in found.items} == expected
    assert found.notes[0] == (
        f"there is no {TRAIN}: its 12 clips are those in folders of the classes' names, less those "
        "of the other lists"
    )
    (root / f"{LISTS}/stage_1_val_seen.csv").unlink()
    with pytest.raises(InputError, match="no class-split/.*/stage_1_val_seen.csv; unpack the ben"):
        listed(root)


def test_what_is_wrong_with_the_files_is_named(root):
    first = min(root.glob("videos/*/*.mp4"))
    shutil.copy(first, root / first.name)
    with pytest.raises(InputError, match=f"{first.name} and videos/.*{first.name} are one clip"):
        listed(root)
    shutil.rmtree(root / "videos")
    message = "no training clip of 'BabyCrawling' and 4 other classes has a media file; fetch some"
    with pytest.raises(InputError, match=message):
        listed(root)
    (root / first.name).unlink()
    with pytest.raises(InputError, match="no clip of stage 1 has a media file, CLIP.mp4 with CLIP"):
        listed(root)


def test_records_have_picture_and_sound_and_the_vectors_of_classes(root, tmp_path):
    flags = ["--dataset=avca_clips", f"--input={root}", f"--output={tmp_path / 'out'}"]
    info = run.run([*flags, "--sample_rate=8000", "--frame_size=32", "--fps=10", "--shards=1"])
    assert {name: split.records for name, split in info.splits.items()} == {"train": 12, "val": 9}
    assert info.rejects == {}
    own = {name: info.properties[name] for name in ("benchmark", "stage", "fps", "sample_rate")}
    assert own == {"benchmark": "ucf", "stage": 1, "fps": 10, "sample_rate": 8_000}
    assert info.properties["unseen"] == sorted(raw.LATER)
    assert info.statistics["train"]["frames"] == {"min": 4, "max": 4, "mean": 4.0}
    # Those of classes never seen are silent here.
    assert info.statistics["val"]["audio_present"]["mean"] == pytest.approx(6 / 9)
    assert verify.main([str(tmp_path / "out")]) == 0
