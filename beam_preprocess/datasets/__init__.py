"""The datasets by name. One says where its raw items are and how one item becomes an example."""

from __future__ import annotations

from beam_preprocess.datasets import digits, image_folder, modelnet40
from beam_preprocess.datasets.dataset import Dataset

DATASETS: dict[str, Dataset] = {
    "digits": digits.DATASET,
    "image_folder": image_folder.DATASET,
    "modelnet40": modelnet40.DATASET,
}
