"""CIFAR-10 and CIFAR-100 as their authors give them, in binary batches.

A batch is rows of one length: the label's byte (CIFAR-100: the coarse one's, then the fine one's),
then 3,072 bytes of a picture of 32 x 32 pixels, all red, all green, all blue. Source: the section
"Binary version" of https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from beam_preprocess import manifest
from beam_preprocess.datasets import image_folder
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, open_at, read_bytes, read_text
from pipelines.readers import Rejected

SIDE = 32
PIXELS = 3 * SIDE * SIDE
# By kind: its batches with their splits and the number of pictures that its authors put in each.
CIFAR_10 = {**{f"data_batch_{i}.bin": ("train", 10_000) for i in range(1, 6)},
            "test_batch.bin": ("test", 10_000)}  # fmt: skip
CIFAR_100 = {"train.bin": ("train", 50_000), "test.bin": ("test", 10_000)}
NAMES = {"fine": "fine_label_names.txt", "coarse": "coarse_label_names.txt"}
CIFAR_10_NAMES = "batches.meta.txt"


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the pictures of the batches, by reading all labels.

    Args:
      root: the folder of the batches, or one above it.
      options: `label_names` says which label counts in CIFAR-100.

    Raises:
      InputError: no batches, or those of several copies; a batch or the names missing; a batch that
        was cut; a label without a name; coarse labels asked of CIFAR-10.
    """
    files = manifest.list_files(root)
    folder, batches = _batches(root, files)
    if batches is CIFAR_10:
        if options.label_names == "coarse":
            raise manifest.InputError(
                f"--label_names=coarse: CIFAR-10 in {root} has no coarse labels; leave the flag out"
            )
        names_file, place, row = CIFAR_10_NAMES, 0, 1 + PIXELS
    else:
        names_file = NAMES[options.label_names]
        place, row = ("coarse", "fine").index(options.label_names), 2 + PIXELS
    missing = [name for name in (*batches, names_file) if folder + name not in files]
    if missing:
        raise manifest.InputError(
            f"{manifest.join(root, folder)}: no {' and no '.join(missing)}; "
            "unpack the archive of the binary version again"
        )
    names = tuple(read_text(root, folder + names_file).split())
    items, notes = [], []
    for name, (split, official) in batches.items():
        content = read_bytes(root, folder + name)
        where = manifest.join(root, folder + name)
        if not content or len(content) % row:
            raise manifest.InputError(
                f"{where} has {len(content):,} bytes, no whole number of rows of {row:,}: "
                "it was cut, unpack or fetch it again"
            )
        labels = np.frombuffer(content, np.uint8)[place::row].tolist()
        if max(labels) >= len(names):
            raise manifest.InputError(
                f"{where}: picture {labels.index(max(labels))} has label {max(labels)}, "
                f"{names_file} has {len(names)} names; unpack both again"
            )
        if len(labels) != official:
            notes.append(f"{folder + name} has {len(labels):,} pictures, the original {official:,}")
        items += [
            manifest.Item(f"{folder}{name}#{index}", folder + name, names[label], split, index)
            for index, label in enumerate(labels)
        ]
    aside = len(files) - len(batches) - 1
    if aside:
        notes.append(f"{aside:,} files beside the batches were left aside")
    return manifest.Listing(items, notes, names)


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Takes one picture out of its batch.

    Returns:
      {"image": PNG bytes, without loss}.

    Raises:
      Rejected: the batch has been cut since it was listed.
    """
    from PIL import Image

    del options  # The label was chosen when the items were listed.
    row = PIXELS + (1 if item.path.rpartition("/")[2] in CIFAR_10 else 2)
    with open_at(root, item.path, item.index * row) as batch:
        content = batch.read(row)
    if len(content) < row:
        raise Rejected("truncated-pack", f"{item.path} ends before picture {item.index} does")
    planes = np.frombuffer(content[-PIXELS:], np.uint8).reshape(3, SIDE, SIDE)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0))).save(file, "PNG")
    return {"image": file.getvalue()}


def _batches(root: str, files: list[str]) -> tuple[str, dict[str, tuple[str, int]]]:
    """The folder that holds batches, "" or with a slash at its end, and which there should be."""
    found = {
        (path[: len(path) - len(name)], number)
        for path in files
        for name in [path.rpartition("/")[2]]
        for number, batches in enumerate((CIFAR_10, CIFAR_100))
        if name in batches
    }
    if not found:
        raise manifest.InputError(
            f"--input={root}: neither data_batch_1.bin nor train.bin; "
            "name the unpacked folder of the binary version"
        )
    if len(found) > 1:
        raise manifest.InputError(
            f"--input={root}: batches of several datasets or copies, in "
            f"{' and '.join(sorted(folder or './' for folder, _ in found))}; name one folder"
        )
    ((folder, number),) = found
    return folder, (CIFAR_10, CIFAR_100)[number]


DATASET = Dataset(
    summary="CIFAR-10 or CIFAR-100 in their own binary batches, official split, stored as PNG",
    layouts=(
        "data_batch_1.bin to data_batch_5.bin, test_batch.bin, batches.meta.txt: CIFAR-10",
        "train.bin, test.bin, fine_label_names.txt, coarse_label_names.txt: CIFAR-100",
    ),
    features=image_folder.FEATURES,
    list_items=list_items,
    read_item=read_item,
    measure=image_folder.measure,
    options=("label_names",),
)
