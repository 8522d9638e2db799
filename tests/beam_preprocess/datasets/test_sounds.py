"""Datasets of sound: who is listed with which label and split, and records end to end."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
import soundfile

from beam_preprocess import run, verify
from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError
from pipelines.records import DatasetInfo, parser


def write(path, content: bytes | str = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def rows(name: str, root, **options) -> list[tuple[str, str, str | None]]:
    listing = DATASETS[name].list_items(str(root), ReadOptions(**options))
    return sorted((item.path, item.label, item.split) for item in listing.items)


def notes(name: str, root) -> list[str]:
    return DATASETS[name].list_items(str(root), ReadOptions()).notes


def tone(hertz: float, rate: int = 8_000, kind: str = "WAV", seconds: float = 0.5) -> bytes:
    file = io.BytesIO()
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)
    soundfile.write(file, samples, rate, format=kind)
    return file.getvalue()


def test_fsdd_has_its_official_split(tmp_path):
    for name in ("7_jackson_0.wav", "7_jackson_4.wav", "0_theo_5.wav", "7_de_la_rue_49.wav"):
        write(tmp_path / "recordings" / name)
    write(tmp_path / "README.md")
    assert rows("fsdd", tmp_path) == [
        ("recordings/0_theo_5.wav", "0", "train"),
        ("recordings/7_de_la_rue_49.wav", "7", "train"),
        ("recordings/7_jackson_0.wav", "7", "test"),
        ("recordings/7_jackson_4.wav", "7", "test"),
    ]
    assert notes("fsdd", tmp_path) == ["1 files that are no recordings were left aside"]


def test_fsdd_elsewhere_is_an_error(tmp_path):
    write(tmp_path / "seven.wav")
    with pytest.raises(InputError, match="none of 1 files is named DIGIT_SPEAKER_INDEX.wav"):
        rows("fsdd", tmp_path)


TABLE = """filename,fold,target,category,esc10,src_file,take
1-1-A-0.wav,1,0,dog,True,1,A
2-1-A-0.wav,2,0,dog,True,1,A
1-2-A-9.wav,1,9,crow,False,2,A
2-2-A-9.wav,2,9,crow,False,2,A
"""


@pytest.mark.parametrize("fold", [1, 2])
def test_esc50_tests_on_the_fold_that_is_asked_for(tmp_path, fold):
    write(tmp_path / "meta/esc50.csv", TABLE)
    write(tmp_path / "audio/other.wav")
    assert rows("esc50", tmp_path, test_fold=fold) == [
        (f"audio/{number}-{clip}-A-{target}.wav", label, "test" if number == fold else "train")
        for number in (1, 2)
        for clip, target, label in ((1, 0, "dog"), (2, 9, "crow"))
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "no meta/esc50.csv; name the folder that has it"),
        (TABLE, "no clip is in fold 5; see --test_fold"),
        ("filename,fold\na.wav,1\n", "line 2 has no category"),
        ("filename,fold,category\na.wav,one,dog\n", "line 2 has no number as fold"),
    ],
)
def test_a_table_that_is_no_good_is_named(tmp_path, table, message):
    if table:
        write(tmp_path / "meta/esc50.csv", table)
    with pytest.raises(InputError, match=message):
        rows("esc50", tmp_path)


def test_a_table_may_have_a_mark_and_windows_lines_but_not_another_encoding(tmp_path):
    write(tmp_path / "meta/esc50.csv", TABLE)
    expected = rows("esc50", tmp_path, test_fold=1)
    write(tmp_path / "meta/esc50.csv", b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode())
    assert rows("esc50", tmp_path, test_fold=1) == expected
    write(tmp_path / "meta/esc50.csv", TABLE.replace("crow", "krähe").encode("latin-1"))
    with pytest.raises(InputError, match=r"esc50.csv is no text in UTF-8 \(byte 126\); save it as"):
        rows("esc50", tmp_path, test_fold=1)


def test_a_pipe_or_a_device_is_rejected_and_not_waited_for(tmp_path, capsys):
    for name in ("a", "b"):
        write(tmp_path / f"raw/train/tone/{name}.wav", tone(440))
    os.mkfifo(tmp_path / "raw/train/tone/pipe.wav")
    (tmp_path / "raw/train/tone/device.wav").symlink_to("/dev/zero")
    (tmp_path / "raw/train/tone/nothing.wav").symlink_to(tmp_path / "nowhere")
    flags = ["--dataset=sound_folder", f"--input={tmp_path}/raw", f"--output={tmp_path}/out"]
    assert run.main([*flags, "--max_reject_fraction=1", "--shards=1"]) == 0
    said = capsys.readouterr().err
    for name, reason in (
        ("device", "no regular file"),
        ("nothing", "No such file or directory"),
        ("pipe", "no regular file"),
    ):
        path = f"train/tone/{name}.wav"
        assert f"rejected: {path} (unreadable-file: {path}: {reason})" in said


def speech_commands(root) -> None:
    for path in ("yes/a_nohash_0.wav", "yes/b_nohash_0.wav", "no/a_nohash_0.wav"):
        write(root / path)
    write(root / "_background_noise_/hum.wav")
    write(root / "validation_list.txt", "yes/b_nohash_0.wav\n")
    write(root / "testing_list.txt", "no/a_nohash_0.wav\nno/gone_nohash_0.wav\n")


def test_speech_commands_has_its_official_lists_and_no_noise(tmp_path):
    speech_commands(tmp_path)
    assert rows("speech_commands", tmp_path) == [
        ("no/a_nohash_0.wav", "no", "test"),
        ("yes/a_nohash_0.wav", "yes", "train"),
        ("yes/b_nohash_0.wav", "yes", "val"),
    ]
    assert notes("speech_commands", tmp_path) == [
        "2 files that are not sounds were left aside",
        "1 files in _folders hold no words: left aside",
        "1 files that the lists name aren't there, such as no/gone_nohash_0.wav",
    ]


def test_speech_commands_needs_its_lists(tmp_path):
    speech_commands(tmp_path)
    (tmp_path / "testing_list.txt").unlink()
    with pytest.raises(InputError, match="no testing_list.txt; name the folder that has it"):
        rows("speech_commands", tmp_path)


def test_class_folders_of_any_format(tmp_path):
    for path in ("hen/a.wav", "hen/b.OGG", "cow/c.mp3", "cow/d.mp4", "cow/notes.txt"):
        write(tmp_path / path)
    assert [row[:2] for row in rows("sound_folder", tmp_path)] == [
        ("cow/c.mp3", "cow"), ("cow/d.mp4", "cow"), ("hen/a.wav", "hen"), ("hen/b.OGG", "hen"),
    ]  # fmt: skip


def test_records_are_made_verified_and_opened_by_tfds(tmp_path, capsys):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    for split, count in (("train", 6), ("test", 2)):
        for label, hertz in (("high", 2000), ("low", 300)):
            for index in range(count):
                kind = ("WAV", "FLAC", "OGG")[index % 3]
                rate = (8_000, 11_025, 44_100)[index % 3]
                path = tmp_path / "raw" / split / label / f"{index}.{kind.lower()}"
                write(path, tone(hertz, rate, kind))
    write(tmp_path / "raw/train/low/cut.wav", tone(300)[:-100])
    write(tmp_path / "raw/train/low/empty.mp3", b"")
    output = tmp_path / "records"
    flags = ["--dataset=sound_folder", f"--input={tmp_path / 'raw'}", f"--output={output}"]
    flags += ["--sample_rate=16000", "--shards=2", "--max_reject_fraction=0.2"]
    info = run.run(flags)
    assert info.rejects == {"truncated-sound": 1, "empty-file": 1}
    assert info.properties == {"sample_rate": 16_000}
    assert info.statistics["train"]["samples"]["min"] == 7_999  # Of 5,512 at 11,025 Hz.
    assert DatasetInfo.read(str(output)) == info
    assert verify.main([str(output)]) == 0
    files = [str(output / shard.name) for shard in info.split("test").shards]
    for record in tf.data.TFRecordDataset(files).map(parser(info.features)):
        waveform = record["audio"].numpy()
        assert waveform.dtype == np.int16
        loudest = np.argmax(np.abs(np.fft.rfft(waveform))) * 16_000 / len(waveform)
        hertz = {"high": 2000, "low": 300}[info.labels[record["label"]]]
        assert loudest == pytest.approx(hertz, 0.02)
    opened = tfds.builder_from_directory(str(output)).as_dataset("test")
    ours = {r["key"].numpy(): r["audio"].numpy() for r in
            tf.data.TFRecordDataset(files).map(parser(info.features))}  # fmt: skip
    for example in opened:
        np.testing.assert_array_equal(example["audio"], ours[example["key"].numpy()])
    again = run.run([*flags[:2], f"--output={tmp_path / 'again'}", *flags[3:]])
    assert again.fingerprint == info.fingerprint
