"""Whole jobs on files that the tests write: what is published, and what never is."""

from __future__ import annotations

import dataclasses
import io
import json
import signal
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from beam_preprocess import publish, run, verify
from beam_preprocess.datasets import DATASETS
from beam_preprocess.manifest import InputError
from beam_preprocess.rejects import TooManyRejects
from pipelines import records
from pipelines.records import DatasetInfo


def encoded(number: int, image_format: str, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (8 + number % 5, 10, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, image_format)
    return buffer.getvalue()


@pytest.fixture
def raw(tmp_path):
    """30 training and 10 test images of two classes; one grey, one CMYK, one PNG named .JPEG."""
    for number in range(40):
        split = "train" if number < 30 else "test"
        folder = tmp_path / "raw" / split / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        kind = {3: ("JPEG", "L"), 4: ("JPEG", "CMYK"), 5: ("PNG", "RGB")}.get(
            number, ("JPEG", "RGB")
        )
        (folder / f"{number:02d}.JPEG").write_bytes(encoded(number, *kind))
    return tmp_path / "raw"


@pytest.fixture
def arguments(raw, tmp_path):
    return ["--dataset=image_folder", f"--input={raw}", f"--output={tmp_path / 'out'}"]


def read_records(folder, info: DatasetInfo, split: str):
    parse = records.parser(info.features)
    paths = [str(folder / shard.name) for shard in info.split(split).shards]
    return list(tf.data.TFRecordDataset(paths).map(parse).as_numpy_iterator())


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_everything_arrives_and_the_description_fits(raw, arguments, tmp_path, capsys):
    info = run.run([*arguments, "--shards=4"])
    out = tmp_path / "out"
    assert DatasetInfo.read(str(out)) == info
    assert info.labels == ("cat", "dog")
    assert {name: len(split.shards) for name, split in info.splits.items()} == {
        "train": 4,
        "test": 4,
    }
    for split, count in (("train", 30), ("test", 10)):
        examples = {e["key"].decode(): e for e in read_records(out, info, split)}
        assert len(examples) == count
        for path in raw.glob(f"{split}/*/*"):
            example = examples[str(path.relative_to(raw))]
            assert info.labels[example["label"]] == path.parent.name
            if path.name != "04.JPEG":
                assert example["image"] == path.read_bytes()
            else:  # CMYK, which TensorFlow does not decode.
                expected = np.asarray(Image.open(path).convert("RGB"))
                np.testing.assert_array_equal(tf.io.decode_png(example["image"]), expected)
    heights = [8 + number % 5 for number in range(30)]
    assert info.statistics["train"] == {
        "label_counts": {"cat": 15, "dog": 15},
        "height": {"min": 8, "max": 12, "mean": sum(heights) / 30},
        "width": {"min": 10, "max": 10, "mean": 10.0},
    }
    assert verify.main([str(out)]) == 0
    shown = capsys.readouterr().out
    assert "train 30 records in 4 shards, test 10 records in 4 shards; 2 classes; 0 rej" in shown
    assert not (out / publish.WORK_FOLDER).exists()


@pytest.mark.parametrize(
    ("folder", "flags", "message"),
    [
        ("", [], r"neither SPLIT/CLASS/FILE .*; did you mean --input={0}/raw\?$"),
        ("", ["--dataset=fsdd"], "none of 40 files is named DIGIT_SPEAKER_INDEX.wav.*2.wav$"),
        ("raw/train", [], "has no splits; .*test:0.2; or name the folder above"),
        ("raw/train/cat", [], r"neither SPLIT/CLASS/FILE .*, \S*JPEG; name the folder above$"),
    ],
)
def test_the_folder_that_was_meant_is_named(raw, tmp_path, folder, flags, message):
    asked = ["--dataset=image_folder", f"--input={raw.parent / folder}", *flags]
    with pytest.raises(InputError, match=message.format(raw.parent)):
        run.run([*asked, f"--output={tmp_path.parent / f'{tmp_path.name}-out'}"])


def test_one_class_alone_is_noted(raw, tmp_path, capsys):
    flags = [f"--input={raw.parent}", "--splits=train:0.8,test:0.2", "--shards=1"]
    for label in ("cat", "dog"):
        for path in raw.glob(f"*/{label}/*"):
            path.rename(raw / path.name)
    for folder in [*raw.glob("*/*/"), *raw.glob("*/")]:
        folder.rmdir()
    run.run(["--dataset=image_folder", *flags, f"--output={tmp_path.parent / tmp_path.name}-out"])
    assert "note: there is one class alone, 'raw': nothing to tell apart" in capsys.readouterr().out


def test_tfds_opens_the_folder(arguments, tmp_path):
    import tensorflow_datasets as tfds

    info = run.run([*arguments, "--shards=3"])
    builder = tfds.builder_from_directory(str(tmp_path / "out"))
    assert builder.info.splits["train"].num_examples == 30
    assert builder.info.features["label"].names == ["cat", "dog"]
    ours = read_records(tmp_path / "out", info, "test")
    for example, expected in zip(builder.as_dataset(split="test"), ours, strict=True):
        assert example["key"].numpy() == expected["key"]
        assert example["label"].numpy() == expected["label"]
        decoded = tf.io.decode_image(expected["image"], channels=3)
        np.testing.assert_array_equal(example["image"], decoded)


def test_two_worker_processes_write_the_same_bytes(real_command, arguments, tmp_path):
    run.run([*arguments, "--shards=4"])
    # In an interpreter of its own and under a time limit: a worker that dies would hang this mode.
    ended = real_command(
        "beam_preprocess.run",
        *arguments[:2],
        f"--output={tmp_path / 'again'}",
        "--shards=4",
        "--runner=FnApiRunner",
        "--direct_num_workers=2",
        "--direct_running_mode=multi_processing",
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    once, again = content(tmp_path / "out"), content(tmp_path / "again")
    descriptions = [json.loads(files.pop("dataset.json")) for files in (once, again)]
    assert once == again
    assert descriptions[0].pop("command") != descriptions[1].pop("command")
    assert descriptions[0] == descriptions[1]


def test_bad_files_are_counted_listed_and_accepted_by_the_printed_flag(
    raw, arguments, tmp_path, capsys
):
    (raw / "train/cat/00.JPEG").write_bytes(b"")
    (raw / "train/dog/01.JPEG").write_text("not a picture")
    (raw / "test/dog/31.JPEG").write_bytes(encoded(31, "JPEG")[:-60])
    with pytest.raises(TooManyRejects) as caught:
        run.run(arguments)
    assert not (tmp_path / "out").exists()
    assert "train/cat/00.JPEG (empty-file" in capsys.readouterr().err
    flag = str(caught.value).split()[-1]
    assert flag == "--max_reject_fraction=0.0750"
    info = run.run([*arguments, flag])
    assert info.rejects == {"corrupt-image": 1, "empty-file": 1, "not-an-image": 1}
    assert (info.splits["train"].records, info.splits["test"].records) == (28, 9)
    lines = (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [
        "test/dog/31.JPEG",
        "train/cat/00.JPEG",
        "train/dog/01.JPEG",
    ]
    assert verify.main([str(tmp_path / "out")]) == 0


def test_files_of_any_name_are_read_or_rejected_on_a_line(raw, arguments, tmp_path, capsys):
    good, bad = raw / "train/cat/a\nb\udcff.png", raw / "train/cat/c\nd\udcfe.png"
    good.write_bytes(encoded(50, "PNG"))
    bad.write_bytes(b"")
    assert run.main([*arguments, "--max_reject_fraction=1"]) == 0
    said = capsys.readouterr().err.splitlines()
    shown = r"train/cat/c\nd\udcfe.png"
    assert f"rejected: {shown} (empty-file: {shown} has no bytes)" in said
    info = DatasetInfo.read(str(tmp_path / "out"))
    keys = {record["key"] for record in read_records(tmp_path / "out", info, "train")}
    assert b"train/cat/a\nb\xff.png" in keys


def test_a_class_without_a_usable_item_stops_the_job(raw, arguments, tmp_path):
    for path in (raw / "train/dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="every training item of class 'dog' was rejected"):
        run.run([*arguments, "--max_reject_fraction=1"])
    for path in (raw / "train/cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="every item of the split 'train' was rejected"):
        run.run([*arguments, "--max_reject_fraction=1"])
    assert not (tmp_path / "out").exists()


def test_a_finished_dataset_is_replaced_only_when_asked(raw, arguments, tmp_path):
    first = run.run([*arguments, "--shards=3"])
    before = content(tmp_path / "out")
    with pytest.raises(InputError, match=r"finished dataset \(image_folder\); pass --overwrite"):
        run.run([*arguments, "--shards=2"])
    (raw / "train/cat/00.JPEG").write_bytes(b"")
    with pytest.raises(TooManyRejects):  # A job that fails leaves the old dataset whole.
        run.run([*arguments, "--shards=2", "--overwrite"])
    assert content(tmp_path / "out") == before
    second = run.run([*arguments, "--shards=2", "--overwrite", "--max_reject_fraction=0.1"])
    assert second.fingerprint != first.fingerprint
    assert len([name for name in content(tmp_path / "out") if ".tfrecord-" in name]) == 4
    assert verify.main([str(tmp_path / "out")]) == 0


def test_foreign_files_are_refused_and_kept(arguments, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("three years")
    for extra in ([], ["--overwrite"]):
        with pytest.raises(InputError, match=r"did not write \(thesis.txt\); they are never del"):
            run.run([*arguments, *extra])
    assert content(out) == {"thesis.txt": b"three years"}
    (out / "dataset.json").write_text('{"mine": true}')
    with pytest.raises(InputError, match="its dataset.json is not one of this version's"):
        run.run([*arguments, "--overwrite"])


def test_after_a_publication_that_broke_off_the_same_command_works(
    arguments, tmp_path, monkeypatch
):
    run.run([*arguments, "--shards=3"])
    whole = publish.write_file

    def fails_at_the_last_file(path, data):
        if path.endswith("/dataset.json"):
            raise OSError(28, "No space left on device")
        whole(path, data)

    monkeypatch.setattr(publish, "write_file", fails_at_the_last_file)
    assert run.main([*arguments, "--shards=2", "--overwrite"]) == 2
    monkeypatch.setattr(publish, "write_file", whole)
    with pytest.raises(records.DatasetError, match="not a finished dataset"):
        DatasetInfo.read(str(tmp_path / "out"))
    run.run([*arguments, "--shards=2"])
    assert verify.main([str(tmp_path / "out")]) == 0


def test_a_killed_job_leaves_no_dataset_and_the_same_command_works(command, arguments, tmp_path):
    job = command.start("beam_preprocess.run", *arguments)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / publish.WORK_FOLDER).exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [publish.WORK_FOLDER]
    run.run(arguments)
    assert verify.main([str(tmp_path / "out")]) == 0


def test_two_jobs_cannot_write_to_one_folder(arguments, tmp_path):
    other = publish.OutputFolder(str(tmp_path / "out"), overwrite=False)
    other.start()
    with pytest.raises(InputError, match="another job is writing to it"):
        run.run(arguments)
    assert (tmp_path / "out" / publish.WORK_FOLDER / "items").is_dir()
    other.discard()
    other.release()
    run.run(arguments)


def test_what_no_reader_foresees_costs_one_file(arguments, tmp_path, monkeypatch, capsys):
    whole, odd = DATASETS["image_folder"], "train/cat/00.JPEG"

    def broken(root, item, options):
        if item.key == odd:
            raise RuntimeError("a mistake of ours")
        return whole.read_item(root, item, options)

    monkeypatch.setitem(DATASETS, "image_folder", dataclasses.replace(whole, read_item=broken))
    assert run.main([*arguments, "--max_reject_fraction=1"]) == 0
    said = f"{odd} (unexpected-error: {odd}: can't be read (RuntimeError: a mistake of ours))"
    assert f"rejected: {said}" in capsys.readouterr().err


def test_an_error_of_ours_in_a_worker_ends_in_one_line(arguments, tmp_path, monkeypatch, capsys):
    def broken(fields):
        raise RuntimeError("a mistake of ours")

    dataset = dataclasses.replace(DATASETS["image_folder"], measure=broken)
    monkeypatch.setitem(DATASETS, "image_folder", dataset)
    assert run.main(arguments) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: the Beam job failed, nothing was published: ")
    assert "a mistake of ours" in error[-1]
    assert not (tmp_path / "out").exists()


def test_points_job(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("shapes_train.npz", 12), ("shapes_test.npz", 4)):
        (tmp_path / "raw").mkdir(exist_ok=True)
        np.savez(
            tmp_path / "raw" / name,
            points=rng.normal(size=(count, 40, 3)).astype(np.float16),
            label=np.arange(count) % 2,
            classes=np.array(["sofa", "bed"]),
        )
    out = tmp_path / "out"
    flags = ["--dataset=modelnet40", f"--input={tmp_path / 'raw'}", f"--output={out}"]
    info = run.run([*flags, "--num_points=32", "--shards=2"])
    assert info.labels == ("bed", "sofa")
    assert info.statistics["test"]["points"] == {"min": 32, "max": 32, "mean": 32.0}
    packed = np.load(tmp_path / "raw" / "shapes_train.npz")
    for example in read_records(out, info, "train"):
        index = int(example["key"].decode().split("#")[1])
        assert info.labels[example["label"]] == ("sofa", "bed")[index % 2]
        source = {tuple(row) for row in packed["points"][index].astype(np.float32).tolist()}
        kept = [tuple(row) for row in example["points"].tolist()]
        assert len(set(kept)) == 32
        assert set(kept) <= source
    assert verify.main([str(out)]) == 0


def test_digits_write_their_own_raw_data(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    info = run.run(["--dataset=digits", f"--input={raw}", f"--output={out}", "--shards=2"])
    assert sum(split.records for split in info.splits.values()) == 1797
    assert abs(info.splits["test"].records - 359) < 50  # A fifth; 3 deviations.
    assert len(list(raw.glob("*/*.png"))) == 1797
