"""CIFAR's binary batches: pixels and names come out as they went in, and cut files are refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from beam_preprocess import run, verify
from beam_preprocess.datasets import DATASETS, cifar_binary
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError, Item
from pipelines.readers import Rejected

NAMES = ("airplane", "automobile", "bird")
FINE = ("apple", "bee", "cup", "dolphin")
COARSE = ("food", "animals")


def pictures(seed: int, count: int) -> np.ndarray:
    """uint8 [count, 32, 32, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def write_batch(path, images: np.ndarray, *labels: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    heads = np.stack([np.array(column, np.uint8) for column in labels], 1)
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    path.write_bytes(np.concatenate([heads, planes], 1).tobytes())


def cifar10(folder) -> dict[str, np.ndarray]:
    """Writes six batches of three pictures, one of each class; returns the pictures by key."""
    written = {}
    for number, name in enumerate(cifar_binary.CIFAR_10):
        images = pictures(number, 3)
        write_batch(folder / name, images, [2, 0, 1])
        written |= {f"{name}#{i}": image for i, image in enumerate(images)}
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return written


def cifar100(folder) -> None:
    for number, name in enumerate(cifar_binary.CIFAR_100):
        write_batch(folder / name, pictures(number, 4), [0, 1, 0, 1], [0, 1, 2, 3])
    (folder / "fine_label_names.txt").write_text("\n".join(FINE) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(COARSE) + "\n")


def rows(root, **options) -> list[tuple]:
    listing = cifar_binary.list_items(str(root), ReadOptions(**options))
    return [(item.key, item.label, item.split) for item in listing.items]


def decoded(root, item: Item) -> np.ndarray:
    data = cifar_binary.read_item(str(root), item, ReadOptions())["image"]
    return np.asarray(Image.open(io.BytesIO(data)))


def test_every_picture_has_its_pixels_its_name_and_its_split(tmp_path):
    written = cifar10(tmp_path / "cifar-10-batches-bin")
    (tmp_path / "cifar-10-batches-bin/readme.html").write_text("x")
    listing = cifar_binary.list_items(str(tmp_path), ReadOptions())
    assert listing.labels == NAMES
    assert len(listing.items) == 18
    for item in listing.items:
        name, index = item.key.removeprefix("cifar-10-batches-bin/").split("#")
        assert item.label == ("bird", "airplane", "automobile")[int(index)]
        assert item.split == ("test" if name == "test_batch.bin" else "train")
        np.testing.assert_array_equal(decoded(tmp_path, item), written[f"{name}#{index}"])
    assert listing.notes[0] == (
        "cifar-10-batches-bin/data_batch_1.bin has 3 pictures, the original 10,000"
    )
    assert listing.notes[-1] == "1 files beside the batches were left aside"


@pytest.mark.parametrize(
    ("which", "labels"),
    [("fine", FINE), ("coarse", (COARSE[0], COARSE[1], COARSE[0], COARSE[1]))],
)
def test_cifar100_has_two_labels_a_picture(tmp_path, which, labels):
    cifar100(tmp_path)
    expected = [(f"train.bin#{i}", label, "train") for i, label in enumerate(labels)]
    expected += [(f"test.bin#{i}", label, "test") for i, label in enumerate(labels)]
    assert rows(tmp_path, label_names=which) == expected
    item = cifar_binary.list_items(str(tmp_path), ReadOptions()).items[5]
    np.testing.assert_array_equal(decoded(tmp_path, item), pictures(1, 4)[1])


def damage(folder, how: str) -> None:
    batch = folder / "data_batch_3.bin"
    if how == "cut":
        batch.write_bytes(batch.read_bytes()[:-1])
    elif how == "empty":
        batch.write_bytes(b"")
    elif how == "missing":
        batch.unlink()
    elif how == "no names":
        (folder / "batches.meta.txt").unlink()
    elif how == "few names":
        (folder / "batches.meta.txt").write_text("airplane\nautomobile\n")
    elif how == "two copies":
        cifar10(folder / "again")
    elif how == "nothing":
        for path in folder.iterdir():
            path.unlink()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", r"data_batch_3.bin has 9,218 bytes, .* rows of 3,073: it was cut, .* fetch it"),
        ("empty", "data_batch_3.bin has 0 bytes"),
        ("missing", "no data_batch_3.bin; unpack the archive"),
        ("no names", "no batches.meta.txt; unpack the archive"),
        ("few names", "data_batch_1.bin: picture 0 has label 2, batches.meta.txt has 2 names"),
        ("two copies", "several datasets or copies, in ./ and again/; name one folder"),
        ("nothing", "neither data_batch_1.bin nor train.bin; name the unpacked folder"),
    ],
)
def test_what_is_not_whole_is_named_with_its_remedy(tmp_path, how, message):
    cifar10(tmp_path)
    damage(tmp_path, how)
    with pytest.raises(InputError, match=message):
        rows(tmp_path)


def test_cifar10_has_no_coarse_labels(tmp_path):
    cifar10(tmp_path)
    with pytest.raises(InputError, match="CIFAR-10 in .* has no coarse labels"):
        rows(tmp_path, label_names="coarse")


def test_a_batch_that_was_cut_after_listing_loses_its_last_pictures_alone(tmp_path):
    written = cifar10(tmp_path)
    items = cifar_binary.list_items(str(tmp_path), ReadOptions()).items
    damage(tmp_path, "cut")
    with pytest.raises(Rejected, match="data_batch_3.bin ends before picture 2") as caught:
        decoded(tmp_path, items[8])
    assert caught.value.reason == "truncated-pack"
    np.testing.assert_array_equal(decoded(tmp_path, items[7]), written["data_batch_3.bin#1"])


def test_records_are_made_and_verified(tmp_path):
    cifar10(tmp_path / "raw")
    output = tmp_path / "records"
    info = run.run(["--dataset=cifar_binary", f"--input={tmp_path / 'raw'}", f"--output={output}"])
    assert info.labels == NAMES
    assert info.features == DATASETS["image_folder"].features
    assert info.statistics["train"]["label_counts"] == dict.fromkeys(NAMES, 5)
    assert info.statistics["test"]["height"] == {"min": 32, "max": 32, "mean": 32}
    assert verify.main([str(output)]) == 0
