"""The unit of work: one shard = one list of raw items -> temporary file -> rename -> report.

Only shard jobs and reports move through Beam, never an item's content: work lists and records lie
in a work folder inside the output folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics

from beam_preprocess import manifest
from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.rejects import Reject
from beam_preprocess.statistics import Totals, add_totals
from pipelines import records
from pipelines.readers import Rejected, unexpected

NAMESPACE = "beam_preprocess"  # Of all our Beam metrics.
SHARDS_FOLDER = "shards"  # In the work folder; what is in it will be published.


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """What a worker needs to make one shard; small, since the pipeline's graph holds all jobs.

    Attributes:
      split: split name.
      index: number of the shard in its split.
      name: file name of the shard.
      items: number of raw items in its work list.
    """

    split: str
    index: int
    name: str
    items: int


@dataclasses.dataclass(frozen=True)
class ShardReport:
    """What became of one shard.

    Attributes:
      split: split name.
      index: number of the shard in its split.
      shard: name, records, size and hash.
      rejects: number of rejected items; they are listed in the work folder.
      label_counts: label index to records.
      measures: measured quantity to (minimum, maximum, sum).
      totals: see `Dataset.totals`, summed over the shard.
    """

    split: str
    index: int
    shard: records.Shard
    rejects: int
    label_counts: dict[int, int]
    measures: dict[str, tuple[int, int, int]]
    totals: Totals = dataclasses.field(default_factory=dict)


def items_path(work: str, job: ShardJob) -> str:
    """Work list of a shard."""
    return manifest.join(work, f"items/{job.name}.jsonl")


def rejects_path(work: str, job: ShardJob) -> str:
    """Rejects of a shard, lines of `rejects.jsonl`; written only where there are some."""
    return manifest.join(work, f"rejects/{job.name}.jsonl")


def shard_path(work: str, job: ShardJob) -> str:
    """Finished shard in the work folder."""
    return manifest.join(work, f"{SHARDS_FOLDER}/{job.name}")


def write_file(path: str, data: bytes) -> None:
    """Writes a file that appears complete or not at all, and lasts once this returns."""
    if "://" in path:  # An object store shows a file once it is closed.
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(data)
        return
    part = f"{path}.part-{os.getpid()}-{threading.get_ident()}"
    with open(part, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def read_file(path: str) -> bytes:
    """Content of a file, local or remote."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read()


class MakeShard(beam.DoFn):
    """Makes one shard from its work list and yields a ShardReport.

    A job that runs twice (a retry, a straggler's twin) writes the same bytes to the same name.

    Args:
      dataset: name in DATASETS.
      input_folder: folder of the raw items.
      work: work folder.
      labels: class names.
      options: how items are read.
    """

    def __init__(
        self,
        dataset: str,
        input_folder: str,
        work: str,
        labels: tuple[str, ...],
        options: ReadOptions,
    ) -> None:
        super().__init__()
        self._dataset = dataset
        self._input = input_folder
        self._work = work
        self._labels = labels
        self._options = options
        self._records = Metrics.counter(NAMESPACE, "records")
        self._rejects = Metrics.counter(NAMESPACE, "rejects")
        self._record_bytes = Metrics.distribution(NAMESPACE, "record_bytes")

    def setup(self) -> None:
        """Imports TensorFlow (8 s) once a worker, not once a shard, and keeps it from GPUs."""
        import tensorflow  # noqa: F401

    def process(self, job: ShardJob) -> Iterator[ShardReport]:
        """Reads the items of a job, writes its shard and its rejects."""
        import tensorflow as tf

        dataset = DATASETS[self._dataset]
        features = dataset.record_features(self._options)
        rejects: list[Reject] = []
        label_counts: dict[int, int] = {}
        measures: dict[str, tuple[int, int, int]] = {}
        totals: list[Totals] = []
        written = 0
        path = shard_path(self._work, job)
        local = "://" not in path
        folder = self._work if local else None  # Remote: written here first, copied when complete.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as scratch:
            part = os.path.join(scratch, "shard")
            with tf.io.TFRecordWriter(part) as writer:
                for item, label in manifest.decode_items(
                    read_file(items_path(self._work, job)), self._labels, job.split
                ):
                    try:
                        fields = _read_item(dataset, self._input, item, self._options)
                    except Rejected as error:
                        rejects.append(Reject(job.split, item.key, error.reason, error.detail))
                        self._rejects.inc()
                        continue
                    for name, value in dataset.measure(fields).items():
                        low, high, total = measures.get(name, (value, value, 0))
                        measures[name] = (min(low, value), max(high, value), total + value)
                    if dataset.totals:
                        totals.append(dataset.totals(fields))
                    example = {**fields, "key": item.key.encode(errors="surrogateescape")}
                    if label != manifest.NO_LABEL:
                        example["label"] = label
                        label_counts[label] = label_counts.get(label, 0) + 1
                    record = records.encode(example, features)
                    writer.write(record)
                    written += 1
                    self._records.inc()
                    self._record_bytes.update(len(record))
            digest = _sync_and_hash(part)
            size = os.path.getsize(part)
            if rejects:
                lines = "".join(reject.to_line() for reject in rejects)
                write_file(rejects_path(self._work, job), lines.encode())
            if local:
                os.replace(part, path)
            else:
                _copy(part, path)
        yield ShardReport(
            split=job.split,
            index=job.index,
            shard=records.Shard(job.name, written, size, digest),
            rejects=len(rejects),
            label_counts=label_counts,
            measures=measures,
            totals=add_totals(totals),
        )


def _read_item(dataset: Any, root: str, item: manifest.Item, options: ReadOptions) -> dict:
    # A network that stumbles is not the file's fault: only what stays unreadable is rejected.
    pauses = [0.5, 4.0] if "://" in root else []
    while True:
        try:
            return dataset.read_item(root, item, options)
        except OSError as error:
            if not pauses:
                raise Rejected(
                    "unreadable-file", f"{item.path}: {error.strerror or error}"
                ) from None
            time.sleep(pauses.pop(0))
        except (Rejected, manifest.InputError, MemoryError):
            raise
        except Exception as error:  # What a decoder stumbles over must not cost the other files.
            raise Rejected("unexpected-error", f"{item.path}: {unexpected(error)}") from error


def _sync_and_hash(path: str) -> str:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: str, target: str) -> None:
    with (
        open(source, "rb") as read,
        FileSystems.create(target, compression_type=CompressionTypes.UNCOMPRESSED) as write,
    ):
        shutil.copyfileobj(read, write, 1 << 22)


def encode_reports(reports: Iterable[ShardReport]) -> bytes:
    """All reports of a job as JSON, in the order of splits and shards."""
    ordered = sorted(reports, key=lambda report: (report.split, report.index))
    return json.dumps([dataclasses.asdict(report) for report in ordered]).encode()


def decode_reports(data: bytes) -> list[ShardReport]:
    """Reverses `encode_reports`."""
    return [
        ShardReport(
            **{
                **fields,
                "shard": records.Shard(**fields["shard"]),
                "label_counts": {int(key): n for key, n in fields["label_counts"].items()},
                "measures": {name: tuple(value) for name, value in fields["measures"].items()},
            }
        )
        for fields in json.loads(data)
    ]


def build(pipeline: beam.Pipeline, jobs: Sequence[ShardJob], make: MakeShard, reports: str) -> None:
    """Adds the whole job to a pipeline.

    Args:
      pipeline: a Beam pipeline.
      jobs: the shards to make.
      make: how.
      reports: path of the file that gets all shard reports when every shard is made.
    """
    (
        pipeline
        | "Jobs" >> beam.Create(list(jobs), reshuffle=False)
        | "Spread" >> beam.Reshuffle()
        | "MakeShard" >> beam.ParDo(make)
        | "Collect" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        | "Report" >> beam.Map(_write_reports, reports)
    )


def _write_reports(reports: list[ShardReport], path: str) -> None:
    write_file(path, encode_reports(reports))
