"""Image folders: Tiny ImageNet as it comes, and the check by the decoder that trains."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from beam_preprocess.datasets import image_folder
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError, Item
from pipelines.readers import Rejected


def write(path, data: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def jpeg(**options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def tiny_imagenet(root) -> None:
    write(root / "train/n01/images/n01_0.JPEG")
    write(root / "train/n01/n01_boxes.txt")
    write(root / "train/n02/images/n02_0.JPEG")
    write(root / "val/images/val_0.JPEG")
    write(root / "val/images/val_1.JPEG")
    write(
        root / "val/val_annotations.txt",
        b"val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n",
    )
    write(root / "test/images/test_0.JPEG")


def test_tiny_imagenet_as_it_comes(tmp_path):
    tiny_imagenet(tmp_path)
    listing = image_folder.list_items(str(tmp_path), ReadOptions())
    assert sorted((item.key, item.path, item.label, item.split) for item in listing.items) == [
        (path, path, label, split)
        for path, label, split in [
            ("train/n01/images/n01_0.JPEG", "n01", "train"),
            ("train/n02/images/n02_0.JPEG", "n02", "train"),
            ("val/images/val_0.JPEG", "n02", "val"),
            ("val/images/val_1.JPEG", "n01", "val"),
        ]
    ]
    assert "1 images in test/images have no labels: left aside" in listing.notes


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (b"val_0.JPEG\tn02\n", r"val/images/val_1.JPEG has no line in val/val_annotations.txt"),
        (b"val_0.JPEG n02\n", r"line 1 is not FILE<tab>CLASS"),
    ],
)
def test_bad_annotations_are_named(tmp_path, annotations, message):
    tiny_imagenet(tmp_path)
    write(tmp_path / "val/val_annotations.txt", annotations)
    with pytest.raises(InputError, match=message):
        image_folder.list_items(str(tmp_path), ReadOptions())


def read(tmp_path, data: bytes):
    write(tmp_path / "a/1.jpg", data)
    return image_folder.read_item(str(tmp_path), Item("a/1.jpg", "a/1.jpg", "a"), ReadOptions())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_images_are_stored_as_they_are_and_measured(tmp_path, options):
    fields = read(tmp_path, jpeg(**options))
    assert fields == {"image": jpeg(**options)}
    assert image_folder.measure(fields) == {"height": 40, "width": 30}


def test_what_pillow_reads_and_tensorflow_refuses_is_rejected(monkeypatch):
    # The end of a PNG's data: without the reader's own check only TensorFlow would notice.
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg())).save(buffer, "PNG")
    with pytest.raises(Rejected, match="corrupt-image: a/1.png: Invalid PNG data"):
        image_folder.check_tensorflow_decodes(buffer.getvalue()[:-6], "a/1.png")
    with pytest.raises(Rejected, match="corrupt-image: a/1.jpg: "):
        image_folder.check_tensorflow_decodes(jpeg()[:-100], "a/1.jpg")
    image_folder.check_tensorflow_decodes(buffer.getvalue(), "a/1.png")
    image_folder.check_tensorflow_decodes(jpeg(), "a/1.jpg")
