"""FlyingChairs: 22,872 pairs, chairs that move over photographs. Also FlowNet 2's samples of it."""

from __future__ import annotations

import posixpath
import re

from beam_preprocess import manifest
from beam_preprocess.datasets import frame_pairs
from beam_preprocess.datasets.dataset import ReadOptions, read_text

_OFFICIAL = re.compile(r"(?P<stem>(?:.*/)?(?P<number>\d+))_(?:img[12](?P<suffix>\.\w+)|flow\.flo)")
_SAMPLE = re.compile(r"(?P<stem>(?:.*/)?(?P<number>\d+))-(?:img[01](?P<suffix>\.\w+)|gt\.flo)")
_SPLIT_FILE = re.compile(r".*train_val\.txt", re.IGNORECASE)
_SPLITS = {"1": "train", "2": "val"}  # What the lines of the official file mean.


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the pairs, wherever they lie; the official split file counts where it is there.

    Raises:
      InputError: no pair, or a split file with other lines or too few.
    """
    del options
    paths = manifest.list_files(root)
    split_files = [path for path in paths if _SPLIT_FILE.fullmatch(posixpath.basename(path))]
    if len(split_files) > 1:
        raise manifest.InputError(f"--input={root}: keep one of {' and '.join(split_files)}")
    splits = read_text(root, split_files[0]).split() if split_files else None
    first: dict[str, str] = {}
    numbers: dict[str, int] = {}
    aside = 0
    for path in paths:
        named = _OFFICIAL.fullmatch(path) or _SAMPLE.fullmatch(path)
        if named is None:
            aside += path not in split_files
            continue
        stem = named["stem"]
        numbers[stem] = int(named["number"])
        middle, suffix = ("_img1" if named.re is _OFFICIAL else "-img0"), named["suffix"]
        if suffix or stem not in first:  # The frames' suffix, unless neither is there.
            first[stem] = f"{stem}{middle}{suffix or '.ppm'}"
    if not first:
        raise manifest.InputError(
            f"--input={root}: none of {aside:,} files is named NNNNN_img1.ppm, NNNNN_img2.ppm or "
            "NNNNN_flow.flo"
        )
    items = [
        manifest.Item(stem, path, split=_split(root, split_files, splits, numbers[stem]))
        for stem, path in sorted(first.items())
    ]
    notes = [f"{aside:,} files that are no part of a pair were left aside"] if aside else []
    return manifest.Listing(items, notes)


def files(item: manifest.Item) -> frame_pairs.Files:
    """The files of a pair, by its first frame."""
    stem, suffix = posixpath.splitext(item.path)
    if stem.endswith("-img0"):
        stem = stem.removesuffix("-img0")
        return frame_pairs.Files((item.path, f"{stem}-img1{suffix}"), (f"{stem}-gt.flo",))
    stem = stem.removesuffix("_img1")
    return frame_pairs.Files((item.path, f"{stem}_img2{suffix}"), (f"{stem}_flow.flo",))


def _split(root: str, names: list[str], splits: list[str] | None, number: int) -> str | None:
    """Line n of the official file is of pair n, from 1 on."""
    if splits is None:
        return None
    if not 1 <= number <= len(splits) or splits[number - 1] not in _SPLITS:
        raise manifest.InputError(
            f"{manifest.join(root, names[0])}: no 1 (train) or 2 (val) in line {number}; put the "
            "official file there, or none and divide by --splits"
        )
    return _SPLITS[splits[number - 1]]


DATASET = frame_pairs.dataset(
    summary="FlyingChairs: pairs of frames with their flow",
    layouts=(
        "NNNNN_img1.ppm, NNNNN_img2.ppm, NNNNN_flow.flo in any folder (data/), and perhaps",
        "  FlyingChairs_train_val.txt; else --splits=train:0.97,val:0.03",
        "NNNNNNN-img0.ppm, NNNNNNN-img1.ppm, NNNNNNN-gt.flo, as FlowNet 2's samples are named",
    ),
    list_items=list_items,
    files=files,
)
