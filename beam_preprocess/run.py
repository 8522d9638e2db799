"""Raw files to TFRecord shards and `dataset.json`.

    python -m beam_preprocess.run --dataset NAME --input DIR --output DIR [flags, Beam's too]

`--help` lists the datasets and the folder layouts they read, `--help-dataset NAME` says all about
one.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from beam_preprocess import console, dataflow, manifest, options, progress, rejects
from beam_preprocess.datasets import DATASETS
from beam_preprocess.statistics import add_totals
from pipelines.records import DatasetInfo, Split, shard_name

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_preprocess.datasets.dataset import Dataset
    from beam_preprocess.publish import OutputFolder
    from beam_preprocess.shards import ShardJob, ShardReport

_SHOWN_REJECTS = 5


class JobFailed(ValueError):
    """The Beam job ended without its shards; the message is one line."""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    console.quiet_libraries()
    try:
        run(argv)
    except (ValueError, OSError) as error:
        console.print_error(error)
        return 2
    except KeyboardInterrupt:
        console.print_error("interrupted, nothing was published; the same command starts again")
        return 130
    return 0


def run(argv: Sequence[str]) -> DatasetInfo:
    """Preprocesses a dataset as the flags say.

    Args:
      argv: the command line without the program's name.

    Returns:
      The published dataset.

    Raises:
      InputError: a bad flag, input or output folder.
      TooManyRejects: more bad items than `--max_reject_fraction`.
      JobFailed: the Beam job failed.
    """
    start = time.monotonic()
    flags = options.parse(argv)
    beam_options = options.beam_options(flags.beam)
    from apache_beam.options.pipeline_options import StandardOptions

    on_dataflow = "Dataflow" in beam_options.view_as(StandardOptions).runner
    with tempfile.TemporaryDirectory() as staging:
        if on_dataflow:
            dataflow.check_options(beam_options, flags.input, flags.output)
            dataflow.stage_packages(beam_options, staging)
            dataflow.contact_cloud()
        with _cloud_errors(flags):
            info = _preprocess(argv, flags, beam_options)
        seconds = time.monotonic() - start
    counts = ", ".join(
        f"{name} {split.records:,} records in {len(split.shards)} shards"
        for name, split in info.splits.items()
    )
    rejected = sum(info.rejects.values())
    print(
        f"{info.name}: {counts}; "
        + (f"{len(info.labels)} classes; " if info.labels else "")
        + f"{rejected:,} rejected"
        + (f" (listed in {rejects.REJECTS_FILE})" if rejected else "")
        + f"; {seconds:.1f} s; in {flags.output}",
        flush=True,
    )
    return info


def _preprocess(
    argv: Sequence[str], flags: options.Flags, beam_options: PipelineOptions
) -> DatasetInfo:
    # Beam is imported from here on: --help and misspelt flags need not wait for it.
    from beam_preprocess import shards
    from beam_preprocess.publish import OutputFolder

    output = OutputFolder(flags.output, flags.overwrite)
    dataset = DATASETS[flags.dataset]
    if dataset.write_raw and _missing_or_empty(flags.input):
        dataset.write_raw(flags.input)
        print(f"wrote the raw data of {flags.dataset} to {flags.input}", flush=True)
    items, labels, found, unseen = _list_items(flags)
    plan = manifest.plan_shards(items, flags.shards)
    jobs = [
        shards.ShardJob(
            split, index, shard_name(flags.dataset, split, index, len(parts)), len(part)
        )
        for split, parts in plan.items()
        for index, part in enumerate(parts)
    ]
    output.start()
    try:
        parts = [part for parts in plan.values() for part in parts]
        for job, part in zip(jobs, parts, strict=True):
            shards.write_file(
                shards.items_path(output.work, job), manifest.encode_items(part, labels)
            )
        make = shards.MakeShard(
            flags.dataset,
            flags.input,
            output.work,
            labels,
            flags.reading,
        )
        reports = _run_pipeline(output, jobs, make, beam_options)
        rejected = _collect_rejects(output, jobs, reports, flags, len(items))
        info = _describe(flags, labels, found, unseen, reports, rejected, argv)
        _add_companions(output, info, rejected)
    except BaseException:
        output.discard()
        output.release()
        raise
    try:
        output.publish(info)
    finally:
        output.release()
    return info


def _list_items(
    flags: options.Flags,
) -> tuple[list[manifest.Item], tuple[str, ...], dict[str, Any], frozenset[str]]:
    """The items with splits, the class names, properties of all records, and unseen classes."""
    dataset = DATASETS[flags.dataset]
    listing = _listing(dataset, flags)
    own_splits = any(item.split for item in listing.items)
    splits = flags.splits or (None if own_splits else dataset.default_splits)
    items = manifest.assign_splits(
        listing.items, splits, flags.input, listing.unseen, dataset.example_splits
    )
    labels = manifest.class_names(items) if listing.labels is None else listing.labels
    if len(labels) == 1:
        listing.notes.append(f"there is one class alone, {labels[0]!r}: nothing to tell apart")
    for note in listing.notes:
        print(f"note: {console.one_line(note)}", flush=True)
    return items, labels, listing.properties, listing.unseen


def _listing(dataset: Dataset, flags: options.Flags) -> manifest.Listing:
    """What is in the input folder; where that is one too high, the message names the right one."""
    try:
        return dataset.list_items(flags.input, flags.reading)
    except manifest.InputError as error:
        inner = manifest.only_folder(flags.input)
        if inner is None:
            raise
        try:
            dataset.list_items(inner, flags.reading)
        except manifest.InputError:
            raise error from None
        raise manifest.InputError(f"{error}; did you mean --input={inner}?") from None


def _run_pipeline(
    output: OutputFolder,
    jobs: list[ShardJob],
    make: object,
    beam_options: PipelineOptions,
) -> list[ShardReport]:
    import apache_beam as beam
    from apache_beam.runners.runner import PipelineState

    from beam_preprocess import shards

    reports_path = manifest.join(output.work, "reports.json")
    pipeline = beam.Pipeline(options=beam_options)
    shards.build(pipeline, jobs, make, reports_path)
    try:
        with progress.shown(output, jobs):
            result = pipeline.run()
            state = result.wait_until_finish()
    except Exception as error:  # Runners wrap a worker's traceback into exceptions of many kinds.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise JobFailed(
            f"the Beam job failed, nothing was published: {lines[-1] if lines else repr(error)}"
        ) from error
    if state not in (None, PipelineState.DONE):
        raise JobFailed(f"the Beam job ended as {state}, nothing was published")
    reports = shards.decode_reports(shards.read_file(reports_path))
    made = {(report.split, report.index) for report in reports}
    lost = [job.name for job in jobs if (job.split, job.index) not in made]
    if lost or len(reports) != len(jobs):
        raise JobFailed(
            f"the Beam job reported {len(reports)} of {len(jobs)} shards, nothing was published"
        )
    return reports


def _collect_rejects(
    output: OutputFolder,
    jobs: list[ShardJob],
    reports: list[ShardReport],
    flags: options.Flags,
    items: int,
) -> list[rejects.Reject]:
    from beam_preprocess import shards

    with_rejects = {(report.split, report.index) for report in reports if report.rejects}
    rejected = [
        reject
        for job in jobs
        if (job.split, job.index) in with_rejects
        for reject in rejects.read_lines(
            shards.read_file(shards.rejects_path(output.work, job)).decode()
        )
    ]
    rejected.sort(key=lambda reject: (reject.split, reject.key))
    for reject in rejected[:_SHOWN_REJECTS]:
        shown = console.one_line(f"{reject.key} ({reject.reason}: {reject.detail})")
        print(f"rejected: {shown}", file=sys.stderr)
    if len(rejected) > _SHOWN_REJECTS:
        print(f"rejected: ... and {len(rejected) - _SHOWN_REJECTS:,} more", file=sys.stderr)
    rejects.check(rejected, items, flags.max_reject_fraction)
    return rejected


def _describe(
    flags: options.Flags,
    labels: tuple[str, ...],
    found: dict[str, Any],
    unseen: frozenset[str],
    reports: list[ShardReport],
    rejected: list[rejects.Reject],
    argv: Sequence[str],
) -> DatasetInfo:
    dataset = DATASETS[flags.dataset]
    splits: dict[str, Split] = {}
    statistics: dict[str, dict] = {}
    names = sorted({report.split for report in reports}, key=lambda name: (name != "train", name))
    for name in names:
        mine = sorted((r for r in reports if r.split == name), key=lambda report: report.index)
        splits[name] = Split(name, tuple(report.shard for report in mine))
        if not splits[name].records:
            raise manifest.InputError(f"every item of the split {name!r} was rejected")
        statistics[name] = {}
        if "label" in dataset.features:
            counts = [sum(r.label_counts.get(i, 0) for r in mine) for i in range(len(labels))]
            statistics[name]["label_counts"] = dict(zip(labels, counts, strict=True))
        if dataset.totals:
            parts = [report.totals for report in mine if report.totals]
            statistics[name]["totals"] = add_totals(parts)
        for quantity in sorted({quantity for r in mine for quantity in r.measures}):
            values = [r.measures[quantity] for r in mine if quantity in r.measures]
            statistics[name][quantity] = {
                "min": min(low for low, _, _ in values),
                "max": max(high for _, high, _ in values),
                "mean": sum(total for _, _, total in values) / splits[name].records,
            }
    for label, count in statistics["train"].get("label_counts", {}).items():
        if not count and label not in unseen:
            raise manifest.InputError(f"every training item of class {label!r} was rejected")
    return DatasetInfo(
        name=flags.dataset,
        features=dataset.record_features(flags.reading),
        labels=labels,
        splits=splits,
        rejects=rejects.count_by_reason(rejected),
        statistics=statistics,
        properties=dataset.properties(flags.reading) | found,
        command="python -m beam_preprocess.run " + shlex.join(argv),
    )


def _add_companions(
    output: OutputFolder, info: DatasetInfo, rejected: list[rejects.Reject]
) -> None:
    from beam_preprocess import shards, tfds_metadata

    staged = manifest.join(output.work, shards.SHARDS_FOLDER)
    lines = "".join(reject.to_line() for reject in rejected)
    shards.write_file(manifest.join(staged, rejects.REJECTS_FILE), lines.encode())
    with tempfile.TemporaryDirectory() as folder:
        for name in tfds_metadata.write(folder, info):
            with open(os.path.join(folder, name), "rb") as file:
                shards.write_file(manifest.join(staged, name), file.read())


@contextmanager
def _cloud_errors(flags: options.Flags) -> Iterator[None]:
    try:
        yield
    except ValueError:
        raise
    except Exception as error:  # Each file system raises its own kinds; a local one only OSError.
        remote = [path for path in (flags.input, flags.output) if "://" in path]
        if not remote:
            raise
        raise JobFailed(
            f"{' or '.join(remote)} could not be reached ({' '.join(str(error).split())[:200]}); "
            "check the network and run gcloud auth application-default login"
        ) from error


def _missing_or_empty(folder: str) -> bool:
    return "://" not in folder and (not os.path.isdir(folder) or not os.listdir(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
