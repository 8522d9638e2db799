"""Videos with sound in class folders: who is listed, who is rejected and why, and the records."""

from __future__ import annotations

import clips
import numpy as np
import pytest

from beam_preprocess import run, verify
from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError, Item
from pipelines.readers import Rejected
from pipelines.records import DatasetInfo, parser

OPTIONS = ReadOptions(sample_rate=16_000, frame_size=32)
BEEP = (0.24, 0.4)


def write(path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def clip(seconds: float = 0.8, kind: str = "mp4, h264, aac", **options) -> bytes:
    sound = clips.tone(clips.KINDS[kind][3], seconds, BEEP)
    return clips.encoded(kind, clips.regular(seconds), sound=sound, flash=BEEP, **options)


@pytest.mark.parametrize("layout", ["{split}/{label}", "{label}/{split}"])
def test_class_folders_with_splits_are_read_as_they_are(tmp_path, layout):
    for split in ("train", "val"):
        for label in ("riding a bike", "yoga"):
            folder = layout.format(split=split, label=label)
            write(tmp_path / folder / "-abc_000010_000020.webm")
    write(tmp_path / "train.csv")
    found = DATASETS["kinetics"].list_items(str(tmp_path), OPTIONS)
    assert sorted((item.label, item.split) for item in found.items) == [
        ("riding a bike", "train"), ("riding a bike", "val"), ("yoga", "train"), ("yoga", "val"),
    ]  # fmt: skip
    assert found.notes == ["1 files that are not videos were left aside"]


def test_sound_alone_is_refused(tmp_path):
    with pytest.raises(InputError, match="--frame_size=0: kinetics has no records of sound"):
        DATASETS["kinetics"].list_items(str(tmp_path), ReadOptions(frame_size=0))


ONE = clips.encoded(times=np.zeros(1), sound=clips.tone(16_000, 0.001))


@pytest.mark.parametrize(
    ("content", "reason", "detail"),
    [
        (clip(silent=True), "no-sound", "a.mp4 has no audio track"),
        (clip(0.4), "too-short", r"a.mp4 ends after 1\d of a clip's 16 frames at 25 a second"),
        (ONE, "too-short", r"a.mp4 ends after \d of a clip's 16 frames at 25 a second"),
        (clip()[:-200], "truncated-video", "a.mp4 has .* bytes"),
        (b"", "empty-file", "a.mp4 has no bytes"),
    ],
    ids=["no sound", "short", "one frame", "cut", "empty"],
)
def test_videos_that_make_no_clip_are_rejected_with_the_reason(tmp_path, content, reason, detail):
    write(tmp_path / "a.mp4", content)
    with pytest.raises(Rejected, match=detail) as raised:
        DATASETS["kinetics"].read_item(str(tmp_path), Item("a", "a.mp4"), OPTIONS)
    assert raised.value.reason == reason


def test_a_short_video_is_long_enough_for_shorter_clips(tmp_path):
    write(tmp_path / "a.mp4", clip(0.4))
    options = ReadOptions(sample_rate=16_000, frame_size=32, min_frames=8)
    fields = DATASETS["kinetics"].read_item(str(tmp_path), Item("a", "a.mp4"), options)
    assert 8 <= len(fields["frames"]) < 16
    assert len(fields["audio"]) == len(fields["frames"]) * 16_000 // 25


def test_records_keep_flash_and_beep_at_their_times(tmp_path):
    import tensorflow as tf

    kinds = ("mp4, h264, aac", "webm, vp8, opus")
    for number in range(10):
        kind = kinds[number % 2]
        name = f"{'ab'[number % 2]}/{number}.{kind.partition(',')[0]}"
        write(tmp_path / "raw" / name, clip(kind=kind))
    write(tmp_path / "raw/a/silent.mp4", clip(silent=True))
    output = tmp_path / "records"
    flags = ["--dataset=kinetics", f"--input={tmp_path / 'raw'}", f"--output={output}"]
    flags += ["--shards=1", "--sample_rate=16000", "--frame_size=32", "--max_reject_fraction=0.2"]
    info = run.run([*flags, "--splits=train:0.7,val:0.3"])
    assert info.rejects == {"no-sound": 1}
    assert info.properties["min_frames"] == 16
    assert DatasetInfo.read(str(output)) == info
    assert verify.main([str(output)]) == 0
    files = [str(output / shard.name) for split in info.splits.values() for shard in split.shards]
    read = 0
    for record in tf.data.TFRecordDataset(files).map(parser(info.features)):
        frames = [tf.io.decode_jpeg(frame).numpy().mean() for frame in record["frames"]]
        loud = np.flatnonzero(np.abs(record["audio"].numpy()) > 6000)
        assert np.flatnonzero(np.array(frames) > 150)[0] == 6
        assert loud[0] / 16_000 == pytest.approx(BEEP[0], abs=0.03)
        read += 1
    assert read == 10
