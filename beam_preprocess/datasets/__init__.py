"""The datasets by name. One says where its raw items are and how one item becomes an example."""

from __future__ import annotations

from beam_preprocess.datasets import (
    digits,
    esc50,
    fsdd,
    image_folder,
    mimic3_mortality,
    modelnet40,
    physionet2012,
    sound_folder,
    speech_commands,
    tcga_brca,
)
from beam_preprocess.datasets.dataset import Dataset

DATASETS: dict[str, Dataset] = {
    "digits": digits.DATASET,
    "esc50": esc50.DATASET,
    "fsdd": fsdd.DATASET,
    "image_folder": image_folder.DATASET,
    "mimic3_mortality": mimic3_mortality.DATASET,
    "modelnet40": modelnet40.DATASET,
    "physionet2012": physionet2012.DATASET,
    "sound_folder": sound_folder.DATASET,
    "speech_commands": speech_commands.DATASET,
    "tcga_brca": tcga_brca.DATASET,
}
