"""The datasets by name. One says where its raw items are and how one item becomes an example."""

from __future__ import annotations

from beam_preprocess.datasets import (
    audioset,
    digits,
    esc50,
    fsdd,
    grid,
    image_folder,
    modelnet40,
    sound_folder,
    speech_commands,
)
from beam_preprocess.datasets.dataset import Dataset

DATASETS: dict[str, Dataset] = {
    "audioset": audioset.DATASET,
    "digits": digits.DATASET,
    "esc50": esc50.DATASET,
    "fsdd": fsdd.DATASET,
    "grid": grid.DATASET,
    "image_folder": image_folder.DATASET,
    "modelnet40": modelnet40.DATASET,
    "sound_folder": sound_folder.DATASET,
    "speech_commands": speech_commands.DATASET,
}
