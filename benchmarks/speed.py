"""How fast the models are on this machine, plainly and structured: `python -m benchmarks.speed`.

Presets and parts of them (`--preset`, `--part`), each by the plain definition and by the structured
path, take turns on one random batch in memory, with the machine's matrix products between them;
medians are printed, and written as JSON and as a picture. With `--config=...`, an experiment's
model under a distribution strategy instead: one JSON line.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import dataclasses
import functools
import gc
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import flags
from ml_collections import config_flags

from benchmarks import experiment, machine, report, speed_plot, subjects, timing

PRESETS = ("imagenet", "audioset_raw_video")
PARTS = ("whole", "cross_attend", "latent", "flow_decoder")
DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16"}  # of the matrix products
QUICK_SHAPES = ((64, 64, 64),)

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Options:
    """What is timed, and how.

    Attributes:
      presets: published models. parts: of `PARTS`.
      attentions: of `subjects.ATTENTIONS`. measures: of `subjects.MEASURES`.
      batch_size: examples at once. recompute: see `subjects.config_of`. precision: Keras policy.
      rounds, seconds: see `timing.interleaved`. small: models of toy size.

    Raises:
      ValueError: a part, an attention or a measure that there isn't.
    """

    presets: Sequence[str] = PRESETS
    parts: Sequence[str] = PARTS
    attentions: Sequence[str] = subjects.ATTENTIONS
    measures: Sequence[str] = tuple(subjects.MEASURES)
    batch_size: int = 1
    recompute: bool = False
    precision: str = "float32"
    rounds: int = 5
    seconds: float = 120.0
    small: bool = False

    def __post_init__(self) -> None:
        for flag, names, known in (
            ("--part", self.parts, PARTS),
            ("--attention", self.attentions, subjects.ATTENTIONS),
            ("--measure", self.measures, subjects.MEASURES),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(f"{flag}={name} is none of {', '.join(known)}")


def groups(options: Options) -> dict[str, dict[str | None, subjects.Maker]]:
    """{what is compared: {attention: makes the subject}}; what has no choice stands under None."""
    common = {"batch_size": options.batch_size, "small": options.small}
    found: dict[str, dict[str | None, subjects.Maker]] = {}

    def add(title: str, make: Any, preset: str, **further: Any) -> None:
        found[title] = {
            path: functools.partial(make, preset, path, **common, **further)
            for path in options.attentions
        }

    for part in (part for part in PARTS if part in options.parts):
        match part:
            case "whole":
                for name in options.presets:
                    add(name, subjects.of_preset, name, recompute=options.recompute)
            case "cross_attend":
                for name in options.presets:
                    add(f"{name}: a cross-attend", subjects.cross_attend_of, name)
            case "latent":
                latent = functools.partial(subjects.latent_transformer, **common)
                found["latent transformer"] = {None: latent}
            case "flow_decoder":
                add("io_flow: the decoder", subjects.decoder_of, "io_flow")
    return found


def measure(
    name: str, makers: Mapping[str | None, subjects.Maker], options: Options
) -> list[Row]:
    """Times the subjects of a group, and the machine's matrix products, in turn.

    Returns:
      A row for every path and measure: seconds (median) and all times, examples and useful FLOPs a
      second, the machine's rates, and the share of the best of them.
    """
    made = {path: make() for path, make in makers.items()}
    runs = [
        (path, kind, call)
        for path, subject in made.items()
        for kind, call in subject.calls.items()
        if kind in options.measures
    ]
    shapes = QUICK_SHAPES if options.small else machine.SHAPES
    times = timing.interleaved(
        {
            **machine.matmuls(DTYPES[options.precision], shapes),
            **{f"{path} {kind}": call for path, kind, call in runs},
        },
        options.rounds,
        options.seconds,
        0.0 if options.small else timing.SAMPLE_SECONDS,
    )
    rates = machine.rates(times)
    rows = []
    for path, kind, _ in runs:
        subject, taken = made[path], times[f"{path} {kind}"]
        seconds = timing.median(taken)
        rate = subject.work(kind) / seconds
        rows.append(
            {
                "name": name,
                "attention": path,
                "measure": kind,
                "batch_size": subject.batch_size,
                "parameters": subject.parameters,
                "useful_flops": subject.work(kind),
                "seconds": seconds,
                "times": taken,
                "examples_per_second": subject.batch_size / seconds,
                "flops_per_second": rate,
                "matmul_flops_per_second": rates,
                "share_of_matmul": rate / max(rates.values()),
            }
        )
    return rows


def pairs(rows: Sequence[Row]) -> list[tuple[Row | None, Row]]:
    """(plain, structured) rows of the same name and measure; (None, row) where one stands alone."""
    by_key: dict[tuple[str, str], dict[str | None, Row]] = {}
    for row in rows:
        by_key.setdefault((row["name"], row["measure"]), {})[row["attention"]] = row
    found: list[tuple[Row | None, Row]] = []
    for paths in by_key.values():
        if "plain" in paths and "structured" in paths:
            found.append((paths["plain"], paths["structured"]))
        else:
            found += [(None, row) for row in paths.values()]
    return found


def show(rows: Sequence[Row], title: str) -> None:
    """Prints the table."""
    shown = []
    for plain, row in pairs(rows):
        alone = plain is None
        shown.append(
            (
                f"{row['name']} (plain)" if row["attention"] == "plain" else row["name"],
                subjects.MEASURES[row["measure"]],
                "–" if alone else report.seconds(plain["seconds"]),
                report.seconds(row["seconds"]),
                report.ratio(row["seconds"], None if alone else plain["seconds"]),
                f"{row['examples_per_second']:.3g}",
                "–" if alone else f"{plain['flops_per_second'] / 1e9:.0f}",
                f"{row['flops_per_second'] / 1e9:.0f}",
                f"{max(row['matmul_flops_per_second'].values()) / 1e9:.0f}",
                f"{row['share_of_matmul']:.0%}",
            )
        )
    times = ("plain", "structured", "ratio", "examples/s")
    rates = ("GFLOP/s plain", "structured", "matmul", "share")
    report.show(
        title,
        ("", "", *times, *rates),
        shown,
        "GFLOP/s by the plain definition's count, three forward passes a step; structured "
        "attention does less. matmul: the machine's best product in the same run.",
        text_columns=2,
    )


def define_flags() -> None:
    """The command's flags."""
    default = Options()
    config_flags.DEFINE_config_file("config", None, "Experiment and variant, instead of presets.")
    flags.DEFINE_list("preset", None, f"Published models; by default {', '.join(PRESETS)}.")
    flags.DEFINE_list(
        "part",
        None,
        "whole: the presets; cross_attend: one of each; latent: the latent transformer; "
        "flow_decoder. By default all, or the whole alone where --preset is given.",
    )
    flags.DEFINE_list("attention", list(default.attentions), "Paths to be timed.")
    flags.DEFINE_list("measure", list(default.measures), "What is timed.")
    flags.DEFINE_integer("batch", default.batch_size, "Examples at once.", lower_bound=1)
    flags.DEFINE_bool("recompute", False, "Activations computed anew going backward.")
    flags.DEFINE_enum("precision", default.precision, list(DTYPES), "Keras policy.")
    flags.DEFINE_integer("rounds", default.rounds, "Turns at most.", lower_bound=1)
    flags.DEFINE_float(
        "seconds", default.seconds, "No turn begins after these.", lower_bound=0.0
    )
    flags.DEFINE_bool("quick", False, "Models of toy size, one round: to see that it works.")
    flags.DEFINE_string("output", f"{report.FOLDER}/speed.json", "JSON; a .png beside it.")
    flags.DEFINE_integer("classes", 10, "Number of labels, for --config.", lower_bound=2)
    flags.DEFINE_string("strategy", "auto", "As for tf_perceiver.train; for --config.")
    flags.DEFINE_string("tpu", None, "As for tf_perceiver.train; for --config.")


def main(argv: list[str]) -> None:
    """Measures, prints, writes."""
    del argv
    asked = flags.FLAGS
    tf.get_logger().setLevel("ERROR")  # Else it takes a function for every path as retracing.
    rounds = 1 if asked.quick else asked.rounds
    if asked.config is not None:
        measured = experiment.measure(
            asked.config, asked.classes, rounds, asked.seconds, asked.strategy, asked.tpu
        )
        print(json.dumps(measured))
        return
    options = Options(
        asked.preset or PRESETS,
        asked.part or (PARTS if asked.preset is None else ("whole",)),
        asked.attention,
        asked.measure,
        asked.batch,
        asked.recompute,
        asked.precision,
        rounds,
        asked.seconds,
        asked.quick,
    )
    tf.keras.mixed_precision.set_global_policy(options.precision)
    rows: list[Row] = []
    for name, makers in groups(options).items():
        rows += measure(name, makers, options)
        gc.collect()
    show(rows, f"Medians, batch {options.batch_size}, {options.precision}")
    output = Path(asked.output)
    record = {"machine": machine.describe(), **dataclasses.asdict(options), "rows": rows}
    report.write(output, record)
    report.draw(output.with_suffix(".png"), speed_plot.figure(pairs(rows)))
    print(f"{output} and {output.with_suffix('.png')} written")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
