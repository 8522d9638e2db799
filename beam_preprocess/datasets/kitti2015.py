"""KITTI 2015: 200 pairs from a driving car, the flow measured where the laser scanner looked."""

from __future__ import annotations

import re

from beam_preprocess import manifest
from beam_preprocess.datasets import frame_pairs
from beam_preprocess.datasets.dataset import ReadOptions

_PATH = re.compile(
    r"(?P<top>(?:.*/)?)(?P<kind>image_2|flow_occ|flow_noc)/(?P<number>\d+)_1(?P<frame>[01])\.png"
)


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the pairs that have a flow or stand among such: the testing pairs are left aside.

    Raises:
      InputError: not the layout.
    """
    del options
    paths = manifest.list_files(root)
    named = {path: _PATH.fullmatch(path) for path in paths}
    tops = {it["top"] for it in named.values() if it and it["kind"] != "image_2"}
    parts = [it for it in named.values() if it and it["top"] in tops]
    if not parts:
        raise manifest.InputError(
            f"--input={root}: no flow_occ/NNNNNN_10.png or flow_noc/NNNNNN_10.png; expected "
            "training/image_2/NNNNNN_10.png, NNNNNN_11.png and training/flow_occ/NNNNNN_10.png"
        )
    firsts = sorted({f"{it['top']}image_2/{it['number']}_10.png" for it in parts})
    items = [manifest.Item(first.removesuffix("_10.png"), first) for first in firsts]
    aside = len(paths) - len(parts)
    notes = [f"{aside:,} files that are no part of a pair were left aside"] if aside else []
    return manifest.Listing(items, notes)


def files(item: manifest.Item) -> frame_pairs.Files:
    """The files of a pair, by its first frame: the flow with occluded pixels where there is one."""
    top, number = _PATH.fullmatch(item.path).group("top", "number")
    return frame_pairs.Files(
        (item.path, f"{top}image_2/{number}_11.png"),
        tuple(f"{top}{kind}/{number}_10.png" for kind in ("flow_occ", "flow_noc")),
    )


DATASET = frame_pairs.dataset(
    summary="KITTI 2015, training pairs with flow_occ, or flow_noc where that is missing",
    layouts=(
        "training/image_2/NNNNNN_10.png and NNNNNN_11.png, training/flow_occ/NNNNNN_10.png",
        "  (or flow_noc), with --splits=train:0.8,val:0.2",
    ),
    list_items=list_items,
    files=files,
)
