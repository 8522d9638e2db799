"""Pairs of frames made of any photographs, with exact flow; see `pipelines.readers.warps`."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from PIL import Image

from beam_preprocess import manifest
from beam_preprocess.datasets import frame_pairs
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, read_bytes
from pipelines import records
from pipelines.readers import flow, image, warps

FEATURES = {**frame_pairs.FEATURES, "hidden": records.Feature("bytes")}


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists `options.pairs` pairs of every picture below the input folder.

    Splits are drawn by picture.

    Raises:
      InputError: no picture.
    """
    paths = manifest.list_files(root)
    pictures = [path for path in paths if os.path.splitext(path)[1].lower() in image.SUFFIXES]
    if not pictures:
        raise manifest.InputError(
            f"--input={root}: no picture among {len(paths):,} files "
            f"({' '.join(sorted(image.SUFFIXES))})"
        )
    items = [
        manifest.Item(f"{path}#{number}", path, index=number, group=path)
        for path in pictures
        for number in range(options.pairs)
    ]
    aside = len(paths) - len(pictures)
    notes = [f"{aside:,} files that are no pictures were left aside"] if aside else []
    return manifest.Listing(items, notes)


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Makes one pair; the option `seed` and the item's key decide how things move.

    Returns:
      The fields of `pipelines.readers.flow.encode_record`, known everywhere, and "hidden": a grey
      PNG, 255 where the second frame doesn't show the first one's pixel.

    Raises:
      Rejected: as `pipelines.readers.image.read` and `warps.draw`.
    """
    pair = warps.draw(
        image.read(read_bytes(root, item.path), item.path),
        item.path,
        max_side=options.max_side,
        motion=options.motion,
        seed=manifest.item_seed(options.seed, item.key),
    )
    frames = [_png(pair.first), _png(pair.second)]
    known = np.ones(pair.hidden.shape, bool)
    return {
        **flow.encode_record(frames, pair.flow, known),
        "hidden": flow.encode_mask(pair.hidden),
    }


def measure(fields: dict[str, Any]) -> dict[str, int]:
    """As for all pairs, and the number of hidden pixels."""
    hidden = np.asarray(Image.open(io.BytesIO(fields["hidden"]))) > 0
    return {**frame_pairs.measure(fields), "hidden_pixels": int(hidden.sum())}


def _png(pixels: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


DATASET = Dataset(
    summary="pairs of frames made of any photographs, with exact flow and what gets hidden",
    layouts=("pictures in any folders, with --splits=train:0.9,val:0.1; drawn by picture",),
    features=FEATURES,
    options=("seed", "pairs", "max_side", "motion"),
    list_items=list_items,
    read_item=read_item,
    measure=measure,
    check_record=frame_pairs.check_record,
)
