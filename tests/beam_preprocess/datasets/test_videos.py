"""GRID and AudioSet: who is listed with which labels and split, and records end to end."""

from __future__ import annotations

import io

import clips
import numpy as np
import pytest
import soundfile

from beam_preprocess import manifest, run, verify
from beam_preprocess.datasets import DATASETS, grid
from beam_preprocess.datasets.audioset import LABELS
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError
from pipelines.readers import Rejected
from pipelines.records import DatasetInfo, parser


def write(path, content: bytes | str = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def listing(name: str, root, **options) -> manifest.Listing:
    return DATASETS[name].list_items(str(root), ReadOptions(**options))


SENTENCES = [
    f"{command}{colour}{place}{letter}{digit}{adverb}"
    for command, colour, place, letter, digit, adverb in zip(
        "blps" * 6, "bgrw" * 6, "abiw" * 6, "acegikmoqsuvxzbdfhjlnprt", "123456789z" * 3,
        "anps" * 6, strict=False,
    )
]  # fmt: skip


def test_grid_is_labelled_by_the_first_letter_and_split_by_its_name(tmp_path):
    for sentence in SENTENCES:
        write(tmp_path / "s1" / f"{sentence}.mpg")
    for path in ("s1/bbaf.mpg", "s1/kbaf2n.mpg", "s1/bbaw2n.mpg", "align/bbaf2n.align", "a.txt"):
        write(tmp_path / path)
    tested = []
    for fold in range(1, 6):
        found = listing("grid", tmp_path, test_fold=fold)
        assert found.notes == ["5 files that are no clips were left aside"]
        assert {item.path[3]: item.label for item in found.items} == {
            "b": "bin", "l": "lay", "p": "place", "s": "set"
        }  # fmt: skip
        tested += [item.path for item in found.items if item.split == "test"]
    assert sorted(tested) == sorted(f"s1/{sentence}.mpg" for sentence in SENTENCES)


def test_grid_folds_follow_the_sentence_whatever_the_form():
    assert grid.fold("bbaf2n") == grid.fold("BBAF2N")
    counts = np.bincount([grid.fold(f"{a}{b}") for a in range(40) for b in range(25)])
    assert counts[0] == 0
    assert (np.abs(counts[1:] - 200) < 60).all()


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        (["a.mpg"], {}, "none of 1 files is a video named like a sentence"),
        (["bbaf2n.mpg"], {"test_fold": 6}, "--test_fold=6: the folds are 1 to 5"),
        (["bbaf2n.mpg"], {"test_fold": grid.fold("bbaf2n") % 5 + 1}, "no clip is in fold"),
    ],
)
def test_grid_elsewhere_is_an_error(tmp_path, paths, options, message):
    for path in paths:
        write(tmp_path / path)
    with pytest.raises(InputError, match=message):
        listing("grid", tmp_path, **options)


def test_grid_records_are_made_verified_and_opened_by_tfds(tmp_path):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    kinds = list(clips.KINDS)
    for number, sentence in enumerate(SENTENCES):
        kind = kinds[number % len(kinds)]
        suffix = {"m": ".mpg", "a": ".avi", "w": ".webm"}.get(kind[0], ".mp4")
        data = clips.encoded(kind, clips.regular(0.6), flash=(0.2, 0.4), sound=SHORT[kind])
        write(tmp_path / "raw" / f"{sentence}{suffix}", data)
    silent = clips.encoded(times=clips.regular(0.6), silent=True)
    write(tmp_path / "raw/sgaf2n.mp4", silent)
    write(tmp_path / "raw/sgaf3n.mp4", data[:500])
    output = tmp_path / "records"
    flags = ["--dataset=grid", f"--input={tmp_path / 'raw'}", f"--output={output}", "--shards=2"]
    flags += ["--sample_rate=16000", "--frame_size=32", "--max_reject_fraction=0.1"]
    info = run.run(flags)
    assert info.rejects["no-sound"] == 1
    assert sum(info.rejects.values()) == 2
    assert info.properties == {"fps": 25, "frame_size": 32, "sample_rate": 16_000}
    assert info.labels == ("bin", "lay", "place", "set")
    assert info.statistics["train"]["audio_present"]["min"] == 1
    assert DatasetInfo.read(str(output)) == info
    assert verify.main([str(output)]) == 0
    files = [str(output / shard.name) for shard in info.split("train").shards]
    for record in tf.data.TFRecordDataset(files).map(parser(info.features)):
        frames = [tf.io.decode_jpeg(frame).numpy() for frame in record["frames"]]
        white = np.flatnonzero([frame.mean() > 150 for frame in frames])
        loud = np.flatnonzero(np.abs(record["audio"].numpy()) > 6000)
        assert white[0] == pytest.approx(5.5, abs=0.5)  # 6 for MP3 in AVI.
        assert loud[0] == pytest.approx(0.2 * 16_000, abs=0.03 * 16_000)
    opened = tfds.builder_from_directory(str(output)).as_dataset("train")
    assert {len(example["frames"]) for example in opened} <= {15, 16, 17}
    again = run.run([*flags[:2], f"--output={tmp_path / 'again'}", *flags[3:]])
    assert again.fingerprint == info.fingerprint


SHORT = {kind: clips.tone(rate, 0.6, (0.2, 0.4)) for kind, (_, _, _, rate) in clips.KINDS.items()}

NAMES = """index,mid,display_name
0,/m/a,"Speech"
1,/m/b,"Bark, dog"
2,/m/c,"Beep"
"""
TRAIN = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=3
# YTID, start_seconds, end_seconds, positive_labels
--aaaaaaaa1, 30.000, 40.000, "/m/a,/m/c"
--aaaaaaaa2, 0.000, 10.000, "/m/b"
--aaaaaaaa3, 1.000, 2.000, "/m/c,/m/a,/m/c"
--aaaaaaaa4, 1.000, 2.000, "/m/a"
"""
TEST = """# YTID,start,end,labels
_bbbbbbbbb1,0,1,/m/zz
_bbbbbbbbb2,5,10,/m/b
"""


def lists(root) -> None:
    write(root / "lists" / LABELS, NAMES)
    write(root / "lists/balanced_train_segments.csv", TRAIN)
    write(root / "lists/eval_segments.csv", TEST)


def test_audioset_finds_the_media_by_their_names(tmp_path):
    lists(tmp_path)
    for path in (
        "a/--aaaaaaaa1_30.webm", "a/--aaaaaaaa1_40000.mp4", "Y--aaaaaaaa2.mkv",
        "--aaaaaaaa3_1000_2000.mp4", "_bbbbbbbbb1.mp4", "_bbbbbbbbb2.wav", "other.mp4",
        "other4567_8.mp4",
    ):  # fmt: skip
        write(tmp_path / path)
    found = listing("audioset", tmp_path)
    assert found.labels == ("Speech", "Bark, dog", "Beep")
    assert [(item.key, item.split, item.details) for item in found.items] == [
        ("a/--aaaaaaaa1_30.webm#30", "train", (30.0, 40.0, 1, 0, 2)),
        ("Y--aaaaaaaa2.mkv#0", "train", (0.0, 10.0, 0, 1)),
        ("--aaaaaaaa3_1000_2000.mp4#1", "train", (1.0, 2.0, 1, 2, 0)),
        ("_bbbbbbbbb1.mp4#0", "test", (0.0, 1.0, 0, "/m/zz")),
    ]
    assert found.notes == [
        "2 segments have no media file: left aside",
        "2 media files that no list names were left aside",
    ]
    alone = listing("audioset", tmp_path, frame_size=0)
    assert alone.items[-1].path == "_bbbbbbbbb2.wav"
    work = manifest.encode_items(found.items, found.labels)
    decoded = [item for item, _ in manifest.decode_items(work, found.labels, "train")]
    assert [item.details for item in decoded] == [item.details for item in found.items]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (LABELS, "index,mid,display_name\n1,/m/a,A\n", "line 2 isn't index,mid,display_name"),
        ("balanced_train_segments.csv", "x, 5, 3, a\n", "line 1 isn't YTID, start_seconds"),
        ("balanced_train_segments.csv", "#\n\nx, 5, z, a\n", "line 3 isn't YTID, start_seconds"),
        ("balanced_train_segments.csv", TRAIN, "none of 6 segments has a media file"),
    ],
)
def test_audioset_lists_that_are_no_good_are_named(tmp_path, file, content, message):
    lists(tmp_path)
    write(tmp_path / "lists" / file, content)
    with pytest.raises(InputError, match=message):
        listing("audioset", tmp_path)


def test_audioset_needs_its_lists(tmp_path):
    write(tmp_path / "--aaaaaaaa1.mp4")
    with pytest.raises(InputError, match=f"needs {LABELS} and at least one of balanced_train"):
        listing("audioset", tmp_path)


CLIP = clips.encoded()


@pytest.mark.parametrize(
    ("start", "end", "cut", "beep", "seconds"),
    [
        (1.0, 2.0, 0, 0.2, 1.0),  # A stretch of the whole video.
        (1.0, 2.0, 1, 1.2, 1.0),  # Said to be the stretch: its first second, with no beep in it.
        (100.0, 104.0, 0, 1.2, 3.0),  # Shorter than its segment: the segment alone, and cut short.
        (0.0, 10.0, 0, 1.2, 3.0),
    ],
)
def test_audioset_reads_the_stretch_or_what_there_is_of_it(
    tmp_path, start, end, cut, beep, seconds
):
    write(tmp_path / "a.mp4", CLIP)
    options = ReadOptions(sample_rate=16_000, frame_size=32)
    item = manifest.Item("a", "a.mp4", details=(start, end, cut, 2, 0))
    fields = DATASETS["audioset"].read_item(str(tmp_path), item, options)
    assert len(fields["frames"]) == pytest.approx(25 * seconds, abs=1)
    assert len(fields["audio"]) == len(fields["frames"]) * 16_000 // 25
    np.testing.assert_array_equal(fields["labels"], [0, 2])
    loud = np.flatnonzero(np.abs(fields["audio"].astype(int)) > 6000)
    if beep < seconds:
        assert loud[0] / 16_000 == pytest.approx(beep, abs=0.01)
    else:
        assert not len(loud)


def test_audioset_keeps_clips_without_sound_and_rejects_unknown_labels(tmp_path):
    write(tmp_path / "a.mp4", clips.encoded(times=clips.regular(0.6), silent=True))
    options = ReadOptions(sample_rate=16_000, frame_size=32)
    item = manifest.Item("a", "a.mp4", details=(0.0, 10.0, 0, 1))
    fields = DATASETS["audioset"].read_item(str(tmp_path), item, options)
    assert (fields["audio_present"], len(fields["audio"])) == (0, 9_600)
    item = manifest.Item("a", "a.mp4", details=(0.0, 10.0, 0, 1, "/m/zz"))
    with pytest.raises(Rejected, match=f"unknown-label: a: {LABELS} has no /m/zz"):
        DATASETS["audioset"].read_item(str(tmp_path), item, options)


def test_audioset_records_of_sound_alone(tmp_path):
    lists(tmp_path / "raw")
    for number in range(1, 4):
        file = io.BytesIO()
        soundfile.write(file, clips.tone(8_000, 1.0, (0.1 * number, 0.5)), 8_000, format="FLAC")
        write(tmp_path / "raw" / f"Y--aaaaaaaa{number}.flac", file.getvalue())
    write(tmp_path / "raw/_bbbbbbbbb2_5.mp4", CLIP)
    write(tmp_path / "raw/_bbbbbbbbb1.mp4", CLIP)
    flags = ["--dataset=audioset", f"--input={tmp_path / 'raw'}", "--frame_size=0", "--shards=1"]
    flags += ["--sample_rate=16000", f"--output={tmp_path / 'out'}", "--max_reject_fraction=0.5"]
    info = run.run(flags)
    assert info.rejects == {"unknown-label": 1}
    assert info.labels == ("Speech", "Bark, dog", "Beep")
    assert {name: split.records for name, split in info.splits.items()} == {"train": 3, "test": 1}
    assert info.statistics["train"]["frames"] == {"min": 0, "max": 0, "mean": 0}
    assert info.statistics["train"]["samples"]["min"] == 16_000
    assert verify.main([str(tmp_path / "out")]) == 0
