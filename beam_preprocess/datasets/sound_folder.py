"""Sounds in class folders, and what all datasets of sound have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from beam_preprocess import manifest
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, read_bytes
from pipelines import records
from pipelines.readers import audio

FEATURES = {
    "audio": records.Feature("int16", (None,)),
    "label": records.Feature("int64"),
    "key": records.Feature("bytes"),
}


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the sounds of an input folder.

    Args:
      root: input folder.
      options: none counts here.

    Raises:
      InputError: none of the layouts.
    """
    del options
    return manifest.tree_items(manifest.list_files(root), audio.SUFFIXES, "sounds", root)


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Decodes one sound, mixes it to one channel and resamples it to `options.sample_rate`.

    Returns:
      {"audio": int16 `[n]`}.

    Raises:
      Rejected: as `pipelines.readers.audio.read`.
    """
    data = read_bytes(root, item.path)
    return {"audio": audio.read(data, item.path, options.sample_rate)}


def measure(fields: dict[str, Any]) -> dict[str, int]:
    """Number of samples, and the largest of them without its sign: 0 for silence."""
    waveform = fields["audio"]
    return {"samples": len(waveform), "peak": int(np.abs(waveform.astype(np.int32)).max())}


def properties(options: ReadOptions) -> dict[str, Any]:
    """The rate of every record, in Hz."""
    return {"sample_rate": options.sample_rate}


DATASET = Dataset(
    summary="sounds in class folders (wav, flac, ogg, mp3, the sound of an mp4, ...)",
    layouts=(
        "train/CLASS/*.wav and val|test/CLASS/*.wav (any format, also mixed)",
        "CLASS/train/*.wav and CLASS/val|test/*.wav",
        "CLASS/*.wav with --splits=train:0.8,test:0.2",
    ),
    features=FEATURES,
    options=("sample_rate",),
    list_items=list_items,
    read_item=read_item,
    measure=measure,
    properties=properties,
)
