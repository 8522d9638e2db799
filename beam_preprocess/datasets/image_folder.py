"""Images in class folders: CIFAR-10, ILSVRC, Tiny ImageNet and your own."""

from __future__ import annotations

import dataclasses
from typing import Any

from beam_preprocess import manifest
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, read_bytes, read_text
from pipelines import records
from pipelines.readers import Rejected, image

FEATURES = {
    "image": records.Feature("bytes"),
    "label": records.Feature("int64"),
    "key": records.Feature("bytes"),
}
ANNOTATIONS = "val/val_annotations.txt"


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the images of an input folder.

    Tiny ImageNet as it comes is read too: `train/CLASS/images/FILE`, `val/images/FILE` with
    `val/val_annotations.txt`; its `test/images` has no labels and is left aside.

    Args:
      root: input folder.
      options: none counts here.

    Raises:
      InputError: none of the layouts; no line for an image in the annotations.
    """
    del options  # Images are listed as they are.
    files = manifest.list_files(root)
    if ANNOTATIONS not in files:
        return manifest.tree_items(files, image.SUFFIXES, "images", root)
    labels = _annotated_labels(root)
    moved, unlabelled = {}, 0
    for path in files:
        parts = path.split("/")
        if parts[:2] == ["val", "images"] and len(parts) == 3:
            if parts[2] not in labels:
                raise manifest.InputError(
                    f"--input={root}: {path} has no line in {ANNOTATIONS}; add one"
                )
            moved[f"val/{labels[parts[2]]}/{parts[2]}"] = path
        elif parts[0] == "train" and len(parts) == 4 and parts[2] == "images":
            moved[f"train/{parts[1]}/{parts[3]}"] = path
        elif parts[:2] == ["test", "images"]:
            unlabelled += 1
        else:
            moved[path] = path
    listing = manifest.tree_items(sorted(moved), image.SUFFIXES, "images", root)
    listing.items = [
        dataclasses.replace(item, key=moved[item.path], path=moved[item.path])
        for item in listing.items
    ]
    if unlabelled:
        listing.notes.append(f"{unlabelled:,} images in test/images have no labels: left aside")
    return listing


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Reads and fully decodes one image.

    Returns:
      {"image": JPEG or PNG bytes}.

    Raises:
      Rejected: as `pipelines.readers.image.check`, and where TensorFlow cannot decode it.
    """
    del options  # Images are stored as they are.
    data = image.check(read_bytes(root, item.path), item.path)
    check_tensorflow_decodes(data, item.path)
    return {"image": data}


def check_tensorflow_decodes(data: bytes, name: str) -> None:
    """Decodes an image once more, with the decoder that training will use.

    Of 1,000 JPEGs with damaged bytes Pillow takes about one that TensorFlow refuses; it would end a
    training in its middle.

    Args:
      data: JPEG or PNG bytes.
      name: file name, for the message.

    Raises:
      Rejected: TensorFlow cannot decode it.
    """
    import tensorflow as tf

    try:
        if data.startswith(b"\x89PNG"):
            tf.io.decode_png(data, channels=3)
        else:  # An eighth of the size: everything is read, little is computed.
            tf.io.decode_jpeg(data, channels=3, ratio=8)
    except tf.errors.OpError as error:
        detail = " ".join(error.message.split()).rpartition("}} ")[2][:200]
        raise Rejected("corrupt-image", f"{name}: {detail}") from None


def measure(fields: dict[str, Any]) -> dict[str, int]:
    """Height and width in pixels."""
    height, width = image.size(fields["image"])
    return {"height": height, "width": width}


def _annotated_labels(root: str) -> dict[str, str]:
    lines = read_text(root, ANNOTATIONS).splitlines()
    # file name, WNID, bounding box; separated by tabs.
    rows = [line.split("\t") for line in lines if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) < 2:
            raise manifest.InputError(
                f"{manifest.join(root, ANNOTATIONS)}: line {number} is not FILE<tab>CLASS"
            )
    return {row[0]: row[1] for row in rows}


DATASET = Dataset(
    summary="images in class folders (CIFAR-10, ILSVRC, Tiny ImageNet, your own)",
    layouts=(
        "train/CLASS/*.jpg and val|test/CLASS/*.jpg (also .jpeg .png and others, any case)",
        "CLASS/train/*.jpg and CLASS/val|test/*.jpg",
        "CLASS/*.jpg with --splits=train:0.8,test:0.2",
        "Tiny ImageNet: train/CLASS/images/*.JPEG, val/images/*.JPEG, val/val_annotations.txt",
    ),
    features=FEATURES,
    list_items=list_items,
    read_item=read_item,
    measure=measure,
)
