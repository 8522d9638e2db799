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

from beam_preprocess import console, rejects
from beam_preprocess.datasets import DATASETS, image_folder
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
    image by a full decode, every cloud's and sound's values, labels, the uniqueness of keys over
    all splits, the statistics, and the list of rejects.

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
        counts: Counter[str] = Counter()
        measured: dict[str, list[int]] = {}
        clean = True
        for shard in split.shards:
            path = os.path.join(directory, shard.name)
            difference = _file_difference(path, shard)
            if difference:
                clean = False
                yield f"{shard.name}: {difference}"
                continue
            for problem in _record_problems(path, shard, info, keys, counts, measured):
                clean = False
                yield f"{shard.name}: {problem}"
        # After a problem with records the statistics cannot agree: say it once.
        statistics = info.statistics.get(split.name)
        if clean and statistics and statistics != summarise(info.labels, counts, measured):
            yield f"statistics of {split.name} differ from its records"


def summarise(
    labels: Sequence[str], counts: Counter[str], measured: dict[str, list[int]]
) -> dict[str, Any]:
    """Statistics of a split: records by class; minimum, maximum and mean of what was measured."""
    summary: dict[str, Any] = {"label_counts": {label: counts[label] for label in labels}}
    for quantity in sorted(measured):
        values = measured[quantity]
        mean = sum(values) / len(values)
        summary[quantity] = {"min": min(values), "max": max(values), "mean": mean}
    return summary


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
    counts: Counter[str],
    measured: dict[str, list[int]],
) -> Iterator[str]:
    import tensorflow as tf

    dataset = DATASETS.get(info.name)
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
            if not 0 <= example["label"] < len(info.labels):
                yield f"{where}: label {example['label']} of {len(info.labels)} classes"
                continue
            try:
                _check_content(example, where)
            except Rejected as error:
                yield str(error)
                continue
            counts[info.labels[example["label"]]] += 1
            for quantity, value in dataset.measure(example).items() if dataset else ():
                measured.setdefault(quantity, []).append(value)
    except tf.errors.OpError as error:  # A bad checksum, or fields other than declared.
        yield f"record {read}: {' '.join(error.message.split())[:200]}"
        return
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
