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

METADATA_FILES = ("dataset_info.json", "features.json", "label.labels.txt")


def write(folder: str, info: DatasetInfo) -> None:
    """Writes TensorFlow Datasets' description of a dataset.

    Args:
      folder: gets METADATA_FILES; local.
      info: the dataset.
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
        for name in METADATA_FILES:
            shutil.copyfile(os.path.join(scratch, name), os.path.join(folder, name))


def _feature(info: DatasetInfo, name: str) -> tfds.features.FeatureConnector:
    import tensorflow_datasets as tfds

    feature = info.features[name]
    if name == "image":
        return tfds.features.Image(shape=(None, None, 3))
    if name == "label":
        return tfds.features.ClassLabel(names=list(info.labels))
    if feature.dtype == "bytes":
        return tfds.features.Text()
    if feature.dtype == "int16":
        return tfds.features.Tensor(
            shape=feature.shape, dtype=np.int16, encoding=tfds.features.Encoding.BYTES
        )
    return tfds.features.Tensor(shape=feature.shape, dtype=np.dtype(feature.dtype).type)
