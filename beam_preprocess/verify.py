"""Re-reads a dataset folder completely and compares it with its `dataset.json`.

python -m beam_preprocess.verify DIR
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from beam_preprocess import console, rejects
from beam_preprocess.datasets import DATASETS, image_folder
from beam_preprocess.datasets.dataset import Dataset
from beam_preprocess.statistics import Totals, add_totals
from pipelines import records
from pipelines.readers import Rejected, audio, image, points

_SHOWN_PROBLEMS = 20


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit status: 0 where everything agrees, else 2."""
    console.quiet_libraries()
    parser = argparse.ArgumentParser(
        prog="python -m beam_preprocess.verify",
        description="Re-reads every shard, record and item of a dataset against dataset.json.",
    )
    parser.add_argument("directory", metavar="DIR", help="folder with dataset.json and its shards")
    directory = parser.parse_args(argv).directory
    start = time.monotonic()
    try:
        info = records.DatasetInfo.read(directory)
        found = 0
        for problem in problems(directory, info):
            found += 1
            if found <= _SHOWN_PROBLEMS:
                print(f"problem: {problem}", file=sys.stderr)
    except (ValueError, OSError) as error:
        console.print_error(error)
        return 2
    if found:
        console.print_error(
            f"{directory}: {found:,} problems; write it again with "
            "python -m beam_preprocess.run ... --overwrite"
        )
        return 2
    counts = ", ".join(
        f"{name} {split.records:,} records in {len(split.shards)} shards"
        for name, split in info.splits.items()
    )
    print(
        f"{directory}: {info.name}, {counts}; all agree with {records.DATASET_FILE}; "
        f"{time.monotonic() - start:.1f} s"
    )
    return 0


def problems(directory: str, info: records.DatasetInfo) -> Iterator[str]:
    """Everything in which a folder differs from its description, one line each.

    Compared are the shards' presence, size, hash and record counts, every record's fields, every
    image by a full decode, every cloud's and sound's values, what else the dataset checks, labels,
    the uniqueness of keys over all splits, the statistics, and the list of rejects.

    Args:
      directory: the folder, local or of any scheme TensorFlow knows.
      info: its description.
    """
    import tensorflow as tf

    listed = {shard.name for split in info.splits.values() for shard in split.shards}
    for name in sorted(set(tf.io.gfile.listdir(directory)) - listed):
        if ".tfrecord-" in name:
            yield f"{name}: a shard that {records.DATASET_FILE} does not list"
    rejects_path = os.path.join(directory, rejects.REJECTS_FILE)
    rejected = {}
    if tf.io.gfile.exists(rejects_path):
        with tf.io.gfile.GFile(rejects_path) as file:
            rejected = rejects.count_by_reason(rejects.read_lines(file.read()))
    if rejected != info.rejects:
        yield f"{rejects.REJECTS_FILE}: lists {rejected}, {records.DATASET_FILE} {info.rejects}"
    keys: set[bytes] = set()
    for split in info.splits.values():
        summary = _Summary(DATASETS.get(info.name), info)
        clean = True
        for shard in split.shards:
            path = os.path.join(directory, shard.name)
            difference = _file_difference(path, shard)
            if difference:
                clean = False
                yield f"{shard.name}: {difference}"
                continue
            for problem in _record_problems(path, shard, info, keys, summary):
                clean = False
                yield f"{shard.name}: {problem}"
        # After a problem with records the statistics cannot agree: say it once.
        statistics = info.statistics.get(split.name)
        if clean and statistics and statistics != summary.statistics():
            yield f"statistics of {split.name} differ from its records"


class _Summary:
    """What `dataset.json` should say of a split, gathered from its records."""

    def __init__(self, dataset: Dataset | None, info: records.DatasetInfo) -> None:
        self._dataset, self._info = dataset, info
        self._counts: Counter[int] = Counter()
        self._measured: dict[str, list[int]] = {}
        self._shards: list[Totals] = []  # Summed shard by shard, as they were made.
        self._totals: list[Totals] = []

    def add(self, example: dict[str, Any]) -> None:
        if "label" in example:
            self._counts[int(example["label"])] += 1
        if self._dataset is None:
            return
        for quantity, value in self._dataset.measure(example).items():
            self._measured.setdefault(quantity, []).append(value)
        if self._dataset.totals:
            self._totals.append(self._dataset.totals(example))

    def end_shard(self) -> None:
        if self._totals:
            self._shards.append(add_totals(self._totals))
            self._totals = []

    def statistics(self) -> dict[str, Any]:
        """Records by class; sums; minimum, maximum and mean of what was measured."""
        found: dict[str, Any] = {}
        if "label" in self._info.features:
            labels = enumerate(self._info.labels)
            found["label_counts"] = {label: self._counts[index] for index, label in labels}
        if self._dataset is not None and self._dataset.totals:
            found["totals"] = add_totals(self._shards)
        for quantity in sorted(self._measured):
            values = self._measured[quantity]
            mean = sum(values) / len(values)
            found[quantity] = {"min": min(values), "max": max(values), "mean": mean}
        return found


def _file_difference(path: str, shard: records.Shard) -> str | None:
    import tensorflow as tf

    if not tf.io.gfile.exists(path):
        return "missing"
    size = tf.io.gfile.stat(path).length
    if size != shard.bytes:
        return f"has {size:,} bytes, {records.DATASET_FILE} says {shard.bytes:,}"
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    if digest.hexdigest() != shard.sha256:
        return "content changed: its SHA-256 is another"
    return None


def _record_problems(
    path: str,
    shard: records.Shard,
    info: records.DatasetInfo,
    keys: set[bytes],
    summary: _Summary,
) -> Iterator[str]:
    import tensorflow as tf

    dataset = DATASETS.get(info.name)
    labels = range(len(info.labels))
    parsed = tf.data.TFRecordDataset(path).map(records.parser(info.features))
    read = 0
    try:
        for example in parsed.as_numpy_iterator():
            read += 1
            key = example["key"]
            where = f"record {read - 1} ({key.decode(errors='replace')})"
            if key in keys:
                yield f"{where}: its key occurs twice"
            keys.add(key)
            strange = [
                int(label)
                for name in ("label", "labels")
                for label in np.atleast_1d(example.get(name, ()))
                if label not in labels
            ]
            if strange:
                yield f"{where}: label {strange[0]} of {len(labels)} classes"
                continue
            try:
                _check_content(example, where)
                if dataset and dataset.check_record:
                    dataset.check_record(example, where)
            except Rejected as error:
                yield str(error)
                continue
            summary.add(example)
    except tf.errors.OpError as error:  # A bad checksum, or fields other than declared.
        yield f"record {read}: {' '.join(error.message.split())[:200]}"
        return
    summary.end_shard()
    if read != shard.records:
        yield f"has {read:,} records, {records.DATASET_FILE} says {shard.records:,}"


def _check_content(example: dict[str, Any], where: str) -> None:
    if "image" in example:
        if image.check(example["image"], where) != example["image"]:
            raise Rejected("unreadable-format", f"{where}: neither JPEG nor PNG of 1 or 3 colours")
        image_folder.check_tensorflow_decodes(example["image"], where)
    if "points" in example:
        cloud = example["points"]
        points.check(cloud, where, len(cloud), seed=0)
    if "audio" in example:
        audio.check(example["audio"], where)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
