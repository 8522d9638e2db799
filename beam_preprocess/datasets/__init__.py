"""The datasets by name. One says where its raw items are and how one item becomes an example."""

from __future__ import annotations

from beam_preprocess.datasets import (
    audioset,
    avca,
    cifar_binary,
    digits,
    esc50,
    flyingchairs,
    fsdd,
    glue,
    grid,
    image_folder,
    kinetics,
    kitti2015,
    mimic3_mortality,
    modelnet40,
    physionet2012,
    sintel,
    sound_folder,
    speech_commands,
    synthetic_flow,
    tcga_brca,
    text_files,
)
from beam_preprocess.datasets.dataset import Dataset

DATASETS: dict[str, Dataset] = {
    "audioset": audioset.DATASET,
    "avca": avca.DATASET,
    "cifar_binary": cifar_binary.DATASET,
    "digits": digits.DATASET,
    "esc50": esc50.DATASET,
    "flyingchairs": flyingchairs.DATASET,
    "fsdd": fsdd.DATASET,
    "glue": glue.DATASET,
    "glue_stsb": glue.STSB,
    "grid": grid.DATASET,
    "image_folder": image_folder.DATASET,
    "kinetics": kinetics.DATASET,
    "kitti2015": kitti2015.DATASET,
    "mimic3_mortality": mimic3_mortality.DATASET,
    "modelnet40": modelnet40.DATASET,
    "physionet2012": physionet2012.DATASET,
    "sintel": sintel.DATASET,
    "sound_folder": sound_folder.DATASET,
    "speech_commands": speech_commands.DATASET,
    "synthetic_flow": synthetic_flow.DATASET,
    "tcga_brca": tcga_brca.DATASET,
    "text_files": text_files.DATASET,
}
