"""Videos with sound in class folders: Kinetics, and your own.

A record has all of a video, its frames and its sound on one clock; which clip of it is used is
drawn when a batch is made.
"""

from __future__ import annotations

from typing import Any

from beam_preprocess import manifest
from beam_preprocess.datasets import grid
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, read_bytes
from pipelines.readers import video


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the videos of an input folder.

    Args:
      root: input folder.
      options: `frame_size` must not be 0.

    Raises:
      InputError: none of the layouts; sound alone is asked for.
    """
    if not options.frame_size:
        raise manifest.InputError("--frame_size=0: kinetics has no records of sound alone")
    return manifest.tree_items(manifest.list_files(root), video.SUFFIXES, "videos", root)


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Decodes a video.

    Returns:
      {"frames": JPEGs, "audio": int16 `[n]` of the same time, "audio_present": 1}.

    Raises:
      Rejected: as `pipelines.readers.video.read_whole`.
    """
    clip = video.read_whole(
        read_bytes(root, item.path), item.path, fps=options.fps, size=options.frame_size,
        sample_rate=options.sample_rate, min_frames=options.min_frames,
    )  # fmt: skip
    return grid.fields_of(clip)


def properties(options: ReadOptions) -> dict[str, Any]:
    """As of GRID, and how many frames every record has at least."""
    return {**grid.properties(options), "min_frames": options.min_frames}


DATASET = Dataset(
    summary="Kinetics and other videos with sound in class folders (mp4, mkv, webm, avi, ...)",
    layouts=(
        "train/CLASS/*.mp4 and val|test/CLASS/*.mp4 (any container and codec, also mixed)",
        "CLASS/train/*.mp4 and CLASS/val|test/*.mp4",
        "CLASS/*.mp4 with --splits=train:0.8,val:0.2",
        "videos without sound, and shorter ones than --min_frames, are rejected",
    ),
    features=grid.FEATURES,
    options=("fps", "frame_size", "sample_rate", "min_frames"),
    list_items=list_items,
    read_item=read_item,
    measure=grid.measure,
    properties=properties,
    check_record=grid.check_record,
)
