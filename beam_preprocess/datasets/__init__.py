"""The datasets by name. One says where its raw items are and how one item becomes an example."""

from __future__ import annotations

from beam_preprocess.datasets import (
    digits,
    esc50,
    flyingchairs,
    fsdd,
    image_folder,
    kitti2015,
    modelnet40,
    sintel,
    sound_folder,
    speech_commands,
    synthetic_flow,
)
from beam_preprocess.datasets.dataset import Dataset

DATASETS: dict[str, Dataset] = {
    "digits": digits.DATASET,
    "esc50": esc50.DATASET,
    "flyingchairs": flyingchairs.DATASET,
    "fsdd": fsdd.DATASET,
    "image_folder": image_folder.DATASET,
    "kitti2015": kitti2015.DATASET,
    "modelnet40": modelnet40.DATASET,
    "sintel": sintel.DATASET,
    "sound_folder": sound_folder.DATASET,
    "speech_commands": speech_commands.DATASET,
    "synthetic_flow": synthetic_flow.DATASET,
}
