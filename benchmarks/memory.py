"""How much memory the models take, plainly and structured: `python -m benchmarks.memory`.

Every measurement is a process of its own: peak resident memory above what the process had before
the model was built, over two runs. Prints a table, writes JSON and a picture.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import flags

from benchmarks import children, machine, memory_plot, peak, report, subjects

RUNS = 2  # The first compiles and makes the optimizer's variables.


@dataclasses.dataclass(frozen=True)
class Spec:
    """What one process measures.

    Attributes:
      preset, attention, batch_size, recompute: see `subjects.of_preset`.
      measure: one of `subjects.MEASURES`.
      precision: Keras policy.
      small: see `subjects.of_preset`.
    """

    preset: str
    measure: str
    attention: str = "structured"
    batch_size: int = 1
    recompute: bool = False
    precision: str = "float32"
    small: bool = False

    @property
    def title(self) -> str:
        """What it is, without the attention."""
        batch = f", batch {self.batch_size}" if self.batch_size > 1 else ""
        recompute = ", recomputing" if self.recompute else ""
        return f"{self.preset}, {subjects.MEASURES[self.measure]}{batch}{recompute}"


BOTH = (
    Spec("imagenet", "train_step"),
    Spec("io_imagenet_fourier", "train_step"),
    Spec("audioset_raw_video", "train_step"),
    Spec("io_flow", "forward"),
)
DEFAULT = (
    *(dataclasses.replace(spec, attention=path) for spec in BOTH for path in subjects.ATTENTIONS),
    Spec("imagenet", "train_step", batch_size=8, recompute=True),
)

PRESET = flags.DEFINE_list("preset", None, "Published models; by default a choice of measurements.")
MEASURE = flags.DEFINE_list("measure", ["train_step"], "Of every --preset.")
ATTENTION = flags.DEFINE_list("attention", list(subjects.ATTENTIONS), "Paths, of every --preset.")
BATCH = flags.DEFINE_integer("batch", 1, "Examples at once, of every --preset.", lower_bound=1)
RECOMPUTE = flags.DEFINE_bool("recompute", False, "Activations computed anew going backward.")
PRECISION = flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16"], "Policy.")
QUICK = flags.DEFINE_bool("quick", False, "Models of toy size: to see that it works.")
OUTPUT = flags.DEFINE_string("output", f"{report.FOLDER}/memory.json", "JSON; a .png beside it.")


def specs() -> list[Spec]:
    """What the flags ask for.

    Raises:
      ValueError: an unknown measure.
    """
    for measure in MEASURE.value:
        if measure not in subjects.MEASURES:
            raise ValueError(f"--measure={measure} is none of {', '.join(subjects.MEASURES)}")
    common = {"precision": PRECISION.value, "small": QUICK.value}
    if PRESET.value is None:
        return [dataclasses.replace(spec, **common) for spec in DEFAULT]
    return [
        Spec(preset, measure, path, BATCH.value, RECOMPUTE.value, **common)
        for preset, measure, path in itertools.product(
            PRESET.value, MEASURE.value, ATTENTION.value
        )
    ]


def peak_of(subject: subjects.Maker, measure: str, precision: str = "float32") -> dict[str, int]:
    """Makes a subject and runs it, in this process; see `children.run`.

    Args:
      subject: makes it. measure: which of its calls. precision: Keras policy.

    Returns:
      Bytes: "baseline_bytes" before, "peak_bytes" above that, "batch_bytes" of the inputs,
      "parameter_bytes" of the variables that are trained.
    """
    tf.get_logger().setLevel("ERROR")
    tf.keras.mixed_precision.set_global_policy(precision)
    tf.matmul(tf.ones([8, 8]), tf.ones([8, 8]))  # The runtime's own memory is no model's.
    baseline = peak.resident()
    with peak.watching() as watched:
        made = subject()
        for _ in range(RUNS):
            made.calls[measure]()
    return {
        "baseline_bytes": baseline,
        "peak_bytes": watched.bytes - baseline,
        "batch_bytes": sum(x.dtype.size * x.shape.num_elements() for x in made.batch.values()),
        "parameter_bytes": 4 * made.parameters,
    }


def _measure(spec: Spec) -> dict[str, int]:
    def make() -> subjects.Subject:
        return subjects.of_preset(
            spec.preset,
            spec.attention,
            spec.batch_size,
            recompute=spec.recompute,
            small=spec.small,
        )

    return peak_of(make, spec.measure, spec.precision)


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the table."""
    by_title: dict[str, dict[str, int]] = {}
    for row in rows:
        by_title.setdefault(row["title"], {})[row["attention"]] = row["peak_bytes"]
    shown = []
    for title, peaks in by_title.items():
        plain, structured = (peaks.get(path) for path in subjects.ATTENTIONS)
        sizes = ("–" if size is None else report.gibibytes(size) for size in (plain, structured))
        shown.append((title, *sizes, report.ratio(structured, plain)))
    report.show(
        "Peak resident memory above what the process had before the model was built",
        ("", "plain", "structured", "ratio"),
        shown,
    )


def main(argv: list[str]) -> None:
    """Measures, prints, writes."""
    del argv
    rows = []
    for spec in specs():
        sizes = children.run(_measure, spec)
        rows.append({**dataclasses.asdict(spec), "title": spec.title, **sizes})
        print(f"{spec.title}, {spec.attention}: {report.gibibytes(rows[-1]['peak_bytes'])}")
    show(rows)
    output = Path(OUTPUT.value)
    report.write(output, {"machine": machine.describe(), "quick": QUICK.value, "rows": rows})
    report.draw(output.with_suffix(".png"), memory_plot.figure(rows))
    print(f"{output} and {output.with_suffix('.png')} written")


if __name__ == "__main__":
    command_line.run(main)
