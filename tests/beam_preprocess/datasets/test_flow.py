"""Datasets of optical flow: which files make a pair, what is rejected, and records end to end."""

from __future__ import annotations

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from beam_preprocess import run, verify
from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError
from pipelines.readers import flow
from pipelines.records import DatasetInfo, parser

HEIGHT, WIDTH = 20, 30


def write(path, content: bytes | str = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def picture(seed: int, kind: str = "PNG", height: int = HEIGHT, width: int = WIDTH) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def field(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 5, (HEIGHT, WIDTH, 2)).astype(np.float32)


def kitti_png(values: np.ndarray, valid: np.ndarray) -> bytes:
    u, v = np.moveaxis(np.rint(values * 64 + 2**15).astype(np.uint16), -1, 0)
    return cv2.imencode(".png", np.stack([valid.astype(np.uint16), v, u], -1))[1].tobytes()


def listed(name: str, root, **options) -> list[tuple]:
    listing = DATASETS[name].list_items(str(root), ReadOptions(**options))
    return [(item.key, item.split, item.group) for item in listing.items]


def notes(name: str, root) -> list[str]:
    return DATASETS[name].list_items(str(root), ReadOptions()).notes


def records_of(folder) -> dict[str, dict]:
    """Every record by its key, decoded."""
    import tensorflow as tf

    info = DatasetInfo.read(str(folder))
    files = [str(folder / shard.name) for split in info.splits.values() for shard in split.shards]
    parsed = tf.data.TFRecordDataset(files).map(parser(info.features))
    return {record["key"].decode(): record for record in parsed.as_numpy_iterator()}


def preprocess(name: str, root, output, *flags: str) -> dict[str, dict]:
    """Runs the whole job and the verification."""
    shards = [] if any(flag.startswith("--shards") for flag in flags) else ["--shards=1"]
    run.main([f"--dataset={name}", f"--input={root}", f"--output={output}", *shards, *flags])
    assert verify.main([str(output)]) == 0
    return records_of(output)


def rejects(output) -> dict[str, str]:
    lines = (output / "rejects.jsonl").read_text().splitlines()
    return {row["key"]: row["reason"] for row in map(json.loads, lines)}


def write_chairs(folder, stem: str, seed: int, *, official: bool = True) -> None:
    names = ("_img1.ppm", "_img2.ppm", "_flow.flo")
    if not official:
        names = ("-img0.ppm", "-img1.ppm", "-gt.flo")
    write(folder / f"{stem}{names[0]}", picture(seed, "PPM"))
    write(folder / f"{stem}{names[1]}", picture(seed + 100, "PPM"))
    write(folder / f"{stem}{names[2]}", flow.encode_flo(field(seed)))


@pytest.mark.parametrize("official", [True, False])
def test_flyingchairs_end_to_end(tmp_path, official):
    for number in range(1, 5):
        write_chairs(tmp_path / "raw/data", f"0000{number}", number, official=official)
    write(tmp_path / "raw/README.txt")
    if official:
        write(tmp_path / "raw/FlyingChairs_train_val.txt", "1\n1\n2\n1\n")
        flags = []
    else:
        flags = ["--splits=train:0.5,val:0.5"]
    found = preprocess("flyingchairs", tmp_path / "raw", tmp_path / "out", *flags)
    assert sorted(found) == [f"data/0000{number}" for number in range(1, 5)]
    for number in range(1, 5):
        frames, (values, valid) = flow.decode_record(found[f"data/0000{number}"], "")
        expected = Image.open(io.BytesIO(picture(number + 100, "PPM")))
        np.testing.assert_array_equal(frames[1], np.asarray(expected))
        np.testing.assert_array_equal(values, field(number))
        assert valid.all()
    info = DatasetInfo.read(str(tmp_path / "out"))
    assert info.labels == ()
    if official:
        assert (info.split("train").records, info.split("val").records) == (3, 1)
    height = info.statistics["train"]["height"]
    assert (height["min"], height["max"]) == (HEIGHT, HEIGHT)


def test_parts_of_chairs_are_rejected_by_what_is_wrong(tmp_path):
    for number in range(1, 9):
        write_chairs(tmp_path / "raw", f"0000{number}", number)
    (tmp_path / "raw/00002_img2.ppm").unlink()
    (tmp_path / "raw/00003_img1.ppm").unlink()
    (tmp_path / "raw/00004_flow.flo").unlink()
    write(tmp_path / "raw/00005_flow.flo", flow.encode_flo(field(5)[1:]))
    write(tmp_path / "raw/00006_img2.ppm", picture(6, height=HEIGHT + 1))
    write(tmp_path / "raw/00007_flow.flo", flow.encode_flo(field(7))[:-8])
    for frame in (1, 2):  # Upside down, as a camera says: the size stays.
        file, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 3
        Image.open(io.BytesIO(picture(8))).save(file, "PNG", exif=exif)
        write(tmp_path / f"raw/00008_img{frame}.ppm", file.getvalue())
    found = preprocess(
        "flyingchairs", tmp_path / "raw", tmp_path / "out", "--splits=train:1",
        "--max_reject_fraction=1",
    )  # fmt: skip
    assert sorted(found) == ["00001"]
    assert rejects(tmp_path / "out") == {
        "00002": "missing-frame",
        "00003": "missing-frame",
        "00004": "missing-flow",
        "00005": "flow-of-another-size",
        "00006": "frames-of-two-sizes",
        "00007": "truncated-flow",
        "00008": "turned-frame",
    }


@pytest.mark.parametrize("lines", ["1\n", "1\n3\n", "1\ntrain\n"])
def test_a_split_file_that_is_no_good_is_named(tmp_path, lines):
    write_chairs(tmp_path, "00001", 1)
    write_chairs(tmp_path, "00002", 2)
    write(tmp_path / "FlyingChairs_train_val.txt", lines)
    with pytest.raises(InputError, match=r"train_val.txt: no 1 \(train\) or 2 \(val\) in line 2"):
        listed("flyingchairs", tmp_path)


def write_sintel(root, scene: str, frames: int, passes=("clean", "final")) -> None:
    for number in range(1, frames + 1):
        for name in passes:
            seed = number + 10 * (name == "final")
            write(root / f"training/{name}/{scene}/frame_{number:04d}.png", picture(seed))
        if number < frames:
            name = f"{scene}/frame_{number:04d}"
            write(root / f"training/flow/{name}.flo", flow.encode_flo(field(number)))
            wrong = np.zeros((HEIGHT, WIDTH), np.uint8)
            wrong[number, 3:7] = 255
            file = io.BytesIO()
            Image.fromarray(wrong).save(file, "PNG")
            write(root / f"training/invalid/{name}.png", file.getvalue())


def test_sintel_end_to_end(tmp_path):
    write_sintel(tmp_path / "raw", "alley_1", 3)
    write_sintel(tmp_path / "raw", "temple_2", 2)
    write(tmp_path / "raw/test/clean/alley_1/frame_0001.png")
    assert listed("sintel", tmp_path / "raw") == [
        (f"training/{kind}/{scene}/frame_{number:04d}", None, f"training/{scene}")
        for kind in ("clean", "final")
        for scene, numbers in (("alley_1", (1, 2)), ("temple_2", (1,)))
        for number in numbers
    ]
    # The one of the test set.
    assert notes("sintel", tmp_path / "raw") == [
        "1 files that are no part of a pair were left aside"
    ]
    found = preprocess("sintel", tmp_path / "raw", tmp_path / "out", "--splits=train:0.3,val:0.7")
    assert len(found) == 6
    frames, (values, valid) = flow.decode_record(found["training/final/alley_1/frame_0002"], "")
    np.testing.assert_array_equal(frames[0], Image.open(io.BytesIO(picture(12))))
    np.testing.assert_array_equal(frames[1], Image.open(io.BytesIO(picture(13))))
    expected = np.ones((HEIGHT, WIDTH), bool)
    expected[2, 3:7] = False
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(values, np.where(expected[..., None], field(2), 0))


def test_sintel_without_parts(tmp_path):
    write_sintel(tmp_path / "raw", "alley_1", 4, passes=("clean",))
    (tmp_path / "raw/training/clean/alley_1/frame_0004.png").unlink()
    (tmp_path / "raw/training/flow/alley_1/frame_0002.flo").unlink()
    for number in (1, 3):
        (tmp_path / f"raw/training/invalid/alley_1/frame_{number:04d}.png").unlink()
    flags = ("--splits=train:1", "--max_reject_fraction=1")
    found = preprocess("sintel", tmp_path / "raw", tmp_path / "out", *flags)
    assert sorted(found) == ["training/clean/alley_1/frame_0001"]
    assert flow.decode_record(found["training/clean/alley_1/frame_0001"], "")[1][1].all()
    assert rejects(tmp_path / "out") == {
        "training/clean/alley_1/frame_0002": "missing-flow",
        "training/clean/alley_1/frame_0003": "missing-frame",
    }


def test_a_loose_pair_is_read(tmp_path):
    write(tmp_path / "raw/frame_0001.png", picture(1))
    write(tmp_path / "raw/frame_0002.png", picture(2))
    write(tmp_path / "raw/frame_0001.flo", flow.encode_flo(field(1)))
    assert "there is no folder invalid/" in notes("sintel", tmp_path / "raw")[0]
    found = preprocess("sintel", tmp_path / "raw", tmp_path / "out", "--splits=train:1")
    _, (values, _) = flow.decode_record(found["frame_0001"], "")
    np.testing.assert_array_equal(values, field(1))


@pytest.mark.parametrize("kind", ["flow_occ", "flow_noc"])
def test_kitti_end_to_end(tmp_path, kind):
    valid = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.3
    for number in range(3):
        root = tmp_path / "raw/training"
        write(root / f"image_2/{number:06d}_10.png", picture(number))
        write(root / f"image_2/{number:06d}_11.png", picture(number + 100))
        write(root / f"{kind}/{number:06d}_10.png", kitti_png(field(number), valid))
        if kind == "flow_occ":  # Both are there: the one with occluded pixels counts.
            write(root / f"flow_noc/{number:06d}_10.png", kitti_png(field(9), valid))
    write(tmp_path / "raw/testing/image_2/000000_10.png", picture(0))
    write(tmp_path / "raw/training/image_2/000007_10.png", picture(0))
    flags = ("--splits=train:1", "--max_reject_fraction=1")
    found = preprocess("kitti2015", tmp_path / "raw", tmp_path / "out", *flags)
    assert sorted(found) == [f"training/image_2/00000{number}" for number in range(3)]
    assert rejects(tmp_path / "out") == {"training/image_2/000007": "missing-frame"}
    _, (values, known) = flow.decode_record(found["training/image_2/000001"], "")
    np.testing.assert_array_equal(known, valid)
    expected = np.rint(field(1) * 64) / 64
    np.testing.assert_array_equal(values, np.where(valid[..., None], expected, 0))


def test_synthetic_pairs_end_to_end(tmp_path):
    for number in range(4):
        write(tmp_path / f"raw/{number % 2}/{number}.jpg", picture(number, "JPEG", 90, 120))
    write(tmp_path / "raw/small.png", picture(9, "PNG", 20, 20))
    write(tmp_path / "raw/broken.png", picture(9)[:60])
    flags = [
        "--splits=train:0.5,val:0.5", "--pairs=3", "--max_side=80", "--motion=5", "--seed=7",
        "--max_reject_fraction=0.5",
    ]  # fmt: skip
    found = preprocess("synthetic_flow", tmp_path / "raw", tmp_path / "out", *flags)
    assert sorted(found) == sorted(f"{n % 2}/{n}.jpg#{k}" for n in range(4) for k in range(3))
    assert set(rejects(tmp_path / "out").values()) == {"too-small", "corrupt-image"}
    frames, (values, valid) = flow.decode_record(found["0/2.jpg#1"], "")
    assert frames[0].shape == (60 - 10, 80 - 10, 3)
    assert valid.all()
    assert np.abs(values - flow.decode_record(found["0/2.jpg#2"], "")[1][0]).max() > 0.5
    # Of a picture, all pairs are in one split.
    train = DatasetInfo.read(str(tmp_path / "out")).split("train").records
    assert train % 3 == 0
    # The same again, in other shards: the same records; another seed: other ones.
    again = preprocess("synthetic_flow", tmp_path / "raw", tmp_path / "again", *flags, "--shards=1")
    assert all((again[key]["flow"], again[key]["hidden"]) == (one["flow"], one["hidden"])
               for key, one in found.items())  # fmt: skip
    flags[4] = "--seed=8"
    other = preprocess("synthetic_flow", tmp_path / "raw", tmp_path / "other", *flags)
    assert all(other[key]["flow"] != one["flow"] for key, one in found.items())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flyingchairs", "none of 1 files is named NNNNN_img1.ppm"),
        ("sintel", "no frame_NNNN.flo; expected training/flow/SCENE"),
        ("kitti2015", "no flow_occ/NNNNNN_10.png"),
        ("synthetic_flow", "no picture among 1 files"),
    ],
)
def test_another_folder_is_an_error(tmp_path, name, message):
    write(tmp_path / "a.wav")
    with pytest.raises(InputError, match=message):
        listed(name, tmp_path)
