"""How fast the models are on this machine, plainly and structured: `python -m benchmarks.speed`.

Presets and parts of them (`--preset`, `--part`), each by the plain definition and by the structured
path, take turns on one random batch in memory, with the machine's matrix products between them;
medians are printed, and written as JSON and as a picture. With `--config=...`, an experiment's
model under a distribution strategy instead: one JSON line.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import functools
import gc
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import flags
from ml_collections import config_flags

from benchmarks import experiment, machine, report, speed_plot, subjects, timing

PRESETS = ("imagenet", "audioset_raw_video")
PARTS = ("whole", "cross_attend", "latent", "flow_decoder")
DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16"}

CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment and variant, instead.")
PRESET = flags.DEFINE_list("preset", None, f"Published models; by default {', '.join(PRESETS)}.")
PART = flags.DEFINE_list(
    "part",
    None,
    "whole: the presets; cross_attend: one of each; latent: the latent transformer; flow_decoder. "
    "By default all, or the whole alone if --preset is given.",
)
ATTENTION = flags.DEFINE_list("attention", list(subjects.ATTENTIONS), "Paths to be timed.")
MEASURE = flags.DEFINE_list("measure", list(subjects.MEASURES), "What is timed of a preset.")
BATCH = flags.DEFINE_integer("batch", 1, "Examples at once.", lower_bound=1)
RECOMPUTE = flags.DEFINE_bool("recompute", False, "Activations computed anew going backward.")
PRECISION = flags.DEFINE_enum("precision", "float32", list(DTYPES), "Keras policy.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns at most.", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", 60.0, "No round begins after these.", lower_bound=0.0)
QUICK = flags.DEFINE_bool("quick", False, "Models of toy size, one round: to see that it works.")
OUTPUT = flags.DEFINE_string("output", f"{report.FOLDER}/speed.json", "JSON; a .png beside it.")
CLASSES = flags.DEFINE_integer("classes", 10, "Number of labels, for --config.", lower_bound=2)
STRATEGY = flags.DEFINE_string("strategy", "auto", "As for tf_perceiver.train; for --config.")
TPU = flags.DEFINE_string("tpu", None, "As for tf_perceiver.train; for --config.")

Row = dict[str, Any]


def groups() -> dict[str, dict[str, subjects.Maker]]:
    """{what is compared: {attention: makes the subject}}, from the flags.

    Raises:
      ValueError: an unknown part, attention or measure.
    """
    _check("--part", PART.value or [], PARTS)
    _check("--attention", ATTENTION.value, subjects.ATTENTIONS)
    _check("--measure", MEASURE.value, subjects.MEASURES)
    parts = PART.value or (list(PARTS) if PRESET.value is None else ["whole"])
    presets = PRESET.value or list(PRESETS)
    options = {"batch_size": BATCH.value, "small": QUICK.value}
    found: dict[str, dict[str, subjects.Maker]] = {}

    def paths(make: Callable[[str], subjects.Subject]) -> dict[str, Callable]:
        return {path: functools.partial(make, path) for path in ATTENTION.value}

    for part in (part for part in PARTS if part in parts):
        if part == "whole":
            for name in presets:
                of = functools.partial(subjects.of_preset, name, recompute=RECOMPUTE.value)
                found[name] = paths(functools.partial(of, **options))
        elif part == "cross_attend":
            for name in presets:
                of = functools.partial(subjects.cross_attend_of, name)
                found[f"{name}: a cross-attend"] = paths(functools.partial(of, **options))
        elif part == "flow_decoder":
            of = functools.partial(subjects.decoder_of, "io_flow")
            found["io_flow: the decoder"] = paths(functools.partial(of, **options))
        else:
            found["latent transformer"] = {
                "": functools.partial(subjects.latent_transformer, **options)
            }
    return found


def _check(flag: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{flag}={name} is none of {', '.join(known)}")


def measure(name: str, makers: dict[str, subjects.Maker]) -> list[Row]:
    """Times the subjects of a group, and the machine's matrix products, in turn.

    Returns:
      A row for every path and measure: seconds (median) and all times, examples and useful FLOPs a
      second, the machine's rate, and the share of it.
    """
    made = {path: make() for path, make in makers.items()}
    calls = {
        f"{path} {measure}": call
        for path, subject in made.items()
        for measure, call in subject.calls.items()
        if measure in MEASURE.value
    }
    products = machine.matmuls(DTYPES[PRECISION.value], _shapes())
    times = timing.interleaved(
        {**products, **calls},
        1 if QUICK.value else ROUNDS.value,
        SECONDS.value,
        0.0 if QUICK.value else timing.SAMPLE_SECONDS,
    )
    rates = machine.rates(times)
    rows = []
    for path, subject in made.items():
        for kind in subject.calls:
            if kind not in MEASURE.value:
                continue
            seconds = timing.median(times[f"{path} {kind}"])
            rate = subject.work(kind) / seconds
            rows.append(
                {
                    "name": name,
                    "attention": path or None,
                    "measure": kind,
                    "batch_size": subject.batch_size,
                    "parameters": subject.parameters,
                    "useful_flops": subject.work(kind),
                    "seconds": seconds,
                    "times": times[f"{path} {kind}"],
                    "examples_per_second": subject.batch_size / seconds,
                    "flops_per_second": rate,
                    "matmul_flops_per_second": rates,
                    "share_of_matmul": rate / max(rates.values()),
                }
            )
    return rows


def _shapes() -> tuple[tuple[int, int, int], ...]:
    return ((64, 64, 64),) if QUICK.value else machine.SHAPES


def pairs(rows: list[Row]) -> list[tuple[Row | None, Row]]:
    """(plain, structured) rows of the same name and measure; (None, row) where one stands alone."""
    by_key: dict[tuple[str, str], dict[str | None, Row]] = {}
    for row in rows:
        by_key.setdefault((row["name"], row["measure"]), {})[row["attention"]] = row
    found = []
    for paths in by_key.values():
        if "plain" in paths and "structured" in paths:
            found.append((paths["plain"], paths["structured"]))
        else:
            found += [(None, row) for row in paths.values()]
    return found


def show(rows: list[Row]) -> None:
    """Prints the table."""
    shown = []
    for plain, row in pairs(rows):
        name = f"{row['name']} (plain)" if row["attention"] == "plain" else row["name"]
        shown.append(
            (
                name,
                subjects.MEASURES[row["measure"]],
                "–" if plain is None else report.seconds(plain["seconds"]),
                report.seconds(row["seconds"]),
                report.ratio(row["seconds"], plain and plain["seconds"]),
                f"{row['examples_per_second']:.3g}",
                "–" if plain is None else f"{plain['flops_per_second'] / 1e9:.0f}",
                f"{row['flops_per_second'] / 1e9:.0f}",
                f"{max(row['matmul_flops_per_second'].values()) / 1e9:.0f}",
                f"{row['share_of_matmul']:.0%}",
            )
        )
    header = ("", "", "plain", "structured", "ratio", "examples/s", "GFLOP/s plain", "structured")
    header = (*header, "matmul", "share")
    report.show(
        f"Medians, batch {BATCH.value}, {PRECISION.value}",
        header,
        shown,
        "GFLOP/s by the plain definition's count, three forward passes a step; structured "
        "attention does less. matmul: the machine's best product in the same run.",
        text_columns=2,
    )


def main(argv: list[str]) -> None:
    """Measures, prints, writes."""
    del argv
    tf.get_logger().setLevel("ERROR")  # Else it takes a function for every path as retracing.
    if CONFIG.value is not None:
        rounds = 1 if QUICK.value else ROUNDS.value
        measured = experiment.measure(
            CONFIG.value, CLASSES.value, rounds, SECONDS.value, STRATEGY.value, TPU.value
        )
        print(json.dumps(measured))
        return
    tf.keras.mixed_precision.set_global_policy(PRECISION.value)
    rows: list[Row] = []
    for name, makers in groups().items():
        rows += measure(name, makers)
        gc.collect()
    show(rows)
    output = Path(OUTPUT.value)
    record = {
        "machine": machine.describe(),
        "precision": PRECISION.value,
        "quick": QUICK.value,
        "recompute": RECOMPUTE.value,
        "rows": rows,
    }
    report.write(output, record)
    report.draw(output.with_suffix(".png"), speed_plot.figure(pairs(rows)))
    print(f"{output} and {output.with_suffix('.png')} written")


if __name__ == "__main__":
    command_line.run(main)
