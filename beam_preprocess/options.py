"""The command line: our flags, Beam's, and a one-line error for everything else."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipelines.records import Feature

MAX_SHARDS = 99_999  # Five digits in a shard's name.
# Plain in-process execution. DirectRunner would first try to download another runner's binary.
LOCAL_RUNNER = "FnApiRunner"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


@dataclasses.dataclass(frozen=True)
class Flags:
    """Our flags, checked, and the rest of the command line for Beam."""

    dataset: str
    input: str
    output: str
    shards: int | None
    splits: str | None
    max_reject_fraction: float
    overwrite: bool
    reading: ReadOptions
    beam: tuple[str, ...]


def parse(argv: Sequence[str]) -> Flags:
    """Parses and checks our flags.

    Args:
      argv: the command line without the program's name.

    Raises:
      InputError: a flag is missing or has a bad value.
      SystemExit: after `--help` and `--help-dataset`.
    """
    known, rest = _our_parser().parse_known_args(argv)
    _check_name("--dataset", known.dataset)
    if known.shards is not None and not 1 <= known.shards <= MAX_SHARDS:
        raise InputError(f"--shards={known.shards}: must be from 1 to {MAX_SHARDS:,}")
    if not 0 <= known.max_reject_fraction <= 1:
        raise InputError(f"--max_reject_fraction={known.max_reject_fraction:g}: must be 0 to 1")
    reading = _reading(known)
    folders = [os.path.abspath(path) for path in (known.input, known.output) if "://" not in path]
    if len(folders) == 2 and os.path.commonpath(folders) == folders[0]:
        raise InputError(
            f"--output={known.output}: lies inside --input; records among raw files would be read "
            "as input the next time, choose a folder outside"
        )
    ours = {field.name for field in dataclasses.fields(Flags)} & vars(known).keys()
    return Flags(
        **{name: getattr(known, name) for name in ours}, reading=reading, beam=tuple(rest)
    )


def describe(name: str) -> str:
    """All about one dataset, as `--help-dataset NAME` prints it."""
    dataset = DATASETS[name]
    lines = [f"{name}: {dataset.summary}", "", "layouts of --input:"]
    lines += [f"  {layout}" for layout in dataset.layouts]
    if dataset.default_splits:
        lines += ["", f"splits, unless --splits says otherwise: {dataset.default_splits}"]
    fields = [field for field in dataclasses.fields(ReadOptions) if field.name in dataset.options]
    if fields:
        lines += ["", "options of its own:"]
        lines += [f"  --{field.name}={_metavar(field)}  {_option_help(field)}" for field in fields]
    lines += ["", "fields of a record:"]
    lines += [f"  {field}: {_feature(feature)}" for field, feature in dataset.features.items()]
    for field in fields:
        if field.default == "":  # Left out, there is less in a record.
            further = dataset.further_features(ReadOptions(**{field.name: field.name}))
            lines += [
                f"  {name}: {_feature(feature)}, with --{field.name}"
                for name, feature in further.items()
            ]
    lines += ["", f"python -m beam_preprocess.run --dataset={name} --input=DIR --output=DIR"]
    return "\n".join(lines).replace("None", "any")


def _feature(feature: Feature) -> str:
    return feature.dtype + (f" {list(feature.shape)}" if feature.shape else "")


def _check_name(flag: str, name: str) -> None:
    if name not in DATASETS:
        close = difflib.get_close_matches(name, DATASETS, 1, 0.4)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(f"{flag}={name}: {hint}there are {', '.join(DATASETS)}")


def _reading(known: argparse.Namespace) -> ReadOptions:
    """The dataset's own options; a flag that it doesn't have would change nothing, in silence."""
    given = {}
    for field in dataclasses.fields(ReadOptions):
        name, value = field.name, getattr(known, field.name)
        if value is None:
            continue
        _check_value(field, value)
        if name not in DATASETS[known.dataset].options:
            has = ", ".join(f"--{option}" for option in DATASETS[known.dataset].options) or "none"
            raise InputError(
                f"--{name}: {known.dataset} has no such option; of its own it has {has}"
            )
        given[name] = value
    return ReadOptions(**given)


def _check_value(field: dataclasses.Field, value: int | str) -> None:
    limits = field.metadata
    if "choices" in limits:
        if value not in limits["choices"]:
            close = difflib.get_close_matches(value, limits["choices"], 1, 0.4)
            hint = f"did you mean {close[0]}? " if close else ""
            choices = ", ".join(limits["choices"])
            raise InputError(f"--{field.name}={value}: {hint}there are {choices}")
    elif "what" in limits:
        if not value:
            raise InputError(f"--{field.name}: {limits['what']} is missing; see --help")
    elif value < limits["low"]:
        raise InputError(f"--{field.name}={value}: must be at least {limits['low']}")
    elif limits["high"] is not None and value > limits["high"]:
        raise InputError(f"--{field.name}={value}: must be at most {limits['high']}")


def _metavar(field: dataclasses.Field) -> str:
    return "|".join(field.metadata.get("choices", (field.metadata.get("what", "N"),)))


def _option_help(field: dataclasses.Field) -> str:
    default = "" if field.default == "" else f" (default {field.default})"
    return f"{field.metadata['help']}{default}"


class _HelpDataset(argparse.Action):
    """Prints a dataset's description, or the list of all, and ends; works without other flags."""

    def __call__(self, parser: object, namespace: object, values: object, flag: object) -> None:
        if values is None:
            print("\n".join(f"{name}: {dataset.summary}" for name, dataset in DATASETS.items()))
        else:
            _check_name("--help-dataset", values)
            print(describe(values))
        raise SystemExit(0)


def beam_options(flags: Sequence[str]) -> PipelineOptions:
    """Beam's options from what is not ours.

    Args:
      flags: the rest of the command line.

    Raises:
      InputError: a flag that neither Beam nor we have, or a value that Beam does not take.
    """
    from apache_beam.options import pipeline_options
    from apache_beam.runners.runner import create_runner

    ours = [name for action in _our_parser()._actions for name in action.option_strings]
    unknown: list[str] = []
    names: list[str] = []

    def collect(parser: argparse.ArgumentParser) -> None:
        def error(message: str) -> NoReturn:
            raise InputError(f"{message}; this is an option of Apache Beam")

        parser.error = error
        names.extend(parser._option_string_actions)
        # A help flag of Beam's would print its 150 options without ours.
        unknown.extend(parser.parse_known_args([flag for flag in flags if flag != "--help"])[1])

    pipeline_options.PipelineOptions([]).get_all_options(add_extra_args_fn=collect)
    for token in unknown:
        name = token.split("=")[0]
        if not token.startswith("-"):
            raise InputError(f"{token!r} belongs to no flag; see --help")
        close = difflib.get_close_matches(name, ours + names, 1, 0.7)
        hint = f"did you mean {close[0]}?" if close else "see --help"
        raise InputError(f"unknown flag {name}: neither ours nor Apache Beam's; {hint}")
    options = pipeline_options.PipelineOptions(list(flags))
    standard = options.view_as(pipeline_options.StandardOptions)
    if standard.runner in (None, "DirectRunner"):
        standard.runner = LOCAL_RUNNER
    try:
        create_runner(standard.runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise InputError(f"--runner={standard.runner}: {error}") from None
    return options


def _our_parser() -> argparse.ArgumentParser:
    lines = []
    for name, dataset in DATASETS.items():
        lines += [f"  {name}: {dataset.summary}", *(f"    {line}" for line in dataset.layouts)]
    parser = _Parser(
        prog="python -m beam_preprocess.run",
        description="Turns raw files into checked TFRecord shards and dataset.json.",
        epilog="datasets and the layouts of --input:\n" + "\n".join(lines) + "\n\n"
        "Any option of Apache Beam can be added, for example\n"
        "  --direct_num_workers=4 --direct_running_mode=multi_processing\n"
        "  --runner=DataflowRunner --project=P --region=R --temp_location=gs://BUCKET/tmp",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--dataset", required=True, metavar="NAME", help="one of " + ", ".join(DATASETS))
    add("--input", required=True, metavar="DIR", help="folder of the raw files")
    add("--output", required=True, metavar="DIR", help="empty or new folder for the dataset")
    add("--shards", type=int, metavar="N", help="shards of each split (default: by size, from 8)")
    add("--splits", metavar="train:0.8,test:0.2", help="divide data that has no splits, by hash")
    add(
        "--max_reject_fraction",
        type=float,
        default=0.001,
        metavar="F",
        help="share of bad raw items that the job may leave out (default 0.001)",
    )
    add("--overwrite", action="store_true", help="replace a finished dataset in --output")
    add(
        "--help-dataset",
        action=_HelpDataset,
        nargs="?",
        metavar="NAME",
        help="say all about one dataset, or list them, and exit",
    )
    for field in dataclasses.fields(ReadOptions):
        users = ", ".join(name for name, it in DATASETS.items() if field.name in it.options)
        add(
            f"--{field.name}",
            type=type(field.default),
            metavar=_metavar(field),
            help=f"{users}: {_option_help(field)}",
        )
    return parser
