"""Metadata beside the shards, so that `tfds.builder_from_directory` opens the folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from pipelines.records import DatasetInfo

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

LABELS_FILE = "label.labels.txt"  # Where records have a label.
METADATA_FILES = ("dataset_info.json", "features.json", LABELS_FILE)


def write(folder: str, info: DatasetInfo) -> tuple[str, ...]:
    """Writes TensorFlow Datasets' description of a dataset.

    Args:
      folder: gets the files; local.
      info: the dataset.

    Returns:
      The names of the files.
    """
    import tensorflow_datasets as tfds

    with tempfile.TemporaryDirectory() as scratch:
        # TFDS reads names and number of shards from file names alone: empty files do.
        for split in info.splits.values():
            for shard in split.shards:
                open(os.path.join(scratch, shard.name), "wb").close()
        template = tfds.core.ShardedFileTemplate(
            data_dir=scratch, dataset_name=info.name, filetype_suffix="tfrecord"
        )
        tfds.folder_dataset.write_metadata(
            data_dir=scratch,
            features={name: _feature(info, name) for name in info.features},
            split_infos=[
                tfds.core.SplitInfo(
                    name=split.name,
                    shard_lengths=[shard.records for shard in split.shards],
                    num_bytes=sum(shard.bytes for shard in split.shards),
                    filename_template=template,
                )
                for split in info.splits.values()
            ],
            version="1.0.0",
            check_data=False,
        )
        names = tuple(
            name for name in METADATA_FILES if name != LABELS_FILE or "label" in info.features
        )
        for name in names:
            shutil.copyfile(os.path.join(scratch, name), os.path.join(folder, name))
    return names


def _feature(info: DatasetInfo, name: str) -> tfds.features.FeatureConnector:
    import tensorflow_datasets as tfds

    feature = info.features[name]
    if name == "image":
        return tfds.features.Image(shape=(None, None, 3))
    if name == "label":
        return tfds.features.ClassLabel(names=list(info.labels))
    if feature.dtype == "bytes":
        text = tfds.features.Text()
        return tfds.features.Sequence(text) if feature.shape else text
    if feature.dtype == "int16":
        return tfds.features.Tensor(
            shape=feature.shape, dtype=np.int16, encoding=tfds.features.Encoding.BYTES
        )
    return tfds.features.Tensor(shape=feature.shape, dtype=np.dtype(feature.dtype).type)
