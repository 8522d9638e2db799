"""Records of JPEGs like photographs, all of about the same size, made where none are given."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from beam_preprocess.datasets.image_folder import FEATURES
from pipelines import records

BYTES = 64 * 1024
SIZE = (500, 375)  # width and height, the commonest of ImageNet's
LABELS = tuple(map(str, range(10)))


def jpeg(seed: int, size: tuple[int, int] = SIZE, target: int = BYTES) -> bytes:
    """A picture of clouds, for which every octave of a photograph has about the same contrast.

    Args:
      seed: of what is on it.
      size: width and height in pixels.
      target: bytes that it is to take; the quality whose file comes nearest is chosen.
    """
    draw = np.random.default_rng(seed)
    width, height = size
    total = np.zeros((height, width, 3))
    for octave in range(9):
        across, down = min(2**octave + 1, width), min(2**octave + 1, height)
        small = draw.integers(0, 256, (down, across, 3), np.uint8)
        total += np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))
    spread = (total - total.mean()) / total.std()
    picture = Image.fromarray(np.clip(128 + 50 * spread, 0, 255).astype(np.uint8))

    def encoded(quality: int) -> bytes:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return file.getvalue()

    low, high = 1, 100
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(encoded(middle)) <= target else (low, middle)
    return min(encoded(low), encoded(high), key=lambda file: abs(len(file) - target))


class Dataset:
    """A shard on disk, and datasets of as many links to it as are asked for.

    So an epoch of a million records takes no more room than a shard. What is read comes from
    memory, where the system keeps the one file; no disk has a part in the time.

    Args:
      folder: for the files.
      records: of the shard.
      pictures: different ones among them.
    """

    def __init__(self, folder: Path, records: int, pictures: int) -> None:
        self.folder, self.records = folder, records
        self._file = folder / "shard.tfrecord"
        files = [jpeg(seed) for seed in range(pictures)]
        with tf.io.TFRecordWriter(str(self._file)) as writer:
            for number in range(records):
                writer.write(_record(files[number % pictures], number))
        self.picture_bytes = sum(map(len, files)) / pictures

    def of(self, shards: int) -> records.DatasetInfo:
        """Its description, with so many shards in the split "train"."""
        size = self._file.stat().st_size
        listed = []
        for index in range(shards):
            name = records.shard_name("pictures", "train", index, shards)
            if not (self.folder / name).exists():
                os.symlink(self._file.name, self.folder / name)
            listed.append(records.Shard(name, self.records, size, ""))
        splits = {"train": records.Split("train", tuple(listed))}
        return records.DatasetInfo("pictures", dict(FEATURES), LABELS, splits)


def _record(file: bytes, number: int) -> bytes:
    fields = {"image": file, "label": number % len(LABELS), "key": b"%d" % number}
    return records.encode(fields, FEATURES)
