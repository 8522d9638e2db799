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

from absl import flags

from benchmarks import children, footprint, machine, memory_plot, report, subjects


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


def specs(
    presets: Sequence[str], measures: Sequence[str], attentions: Sequence[str], **common: Any
) -> list[Spec]:
    """Every preset, measure and attention; `common` are other fields of all of them.

    Raises:
      ValueError: an unknown measure.
    """
    for measure in measures:
        if measure not in subjects.MEASURES:
            raise ValueError(f"--measure={measure} is none of {', '.join(subjects.MEASURES)}")
    return [
        Spec(preset, measure, attention, **common)
        for preset, measure, attention in itertools.product(presets, measures, attentions)
    ]


def _measure(spec: Spec) -> dict[str, int]:
    def make() -> subjects.Subject:
        return subjects.of_preset(
            spec.preset,
            spec.attention,
            spec.batch_size,
            recompute=spec.recompute,
            small=spec.small,
        )

    return footprint.peak_of(make, spec.measure, spec.precision)


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


def define_flags() -> None:
    """The command's flags."""
    flags.DEFINE_list("preset", None, "Published models; by default a choice of measurements.")
    flags.DEFINE_list("measure", ["train_step"], "Of every --preset.")
    flags.DEFINE_list("attention", list(subjects.ATTENTIONS), "Paths, of every --preset.")
    flags.DEFINE_integer("batch", 1, "Examples at once, of every --preset.", lower_bound=1)
    flags.DEFINE_bool("recompute", False, "Activations computed anew going backward.")
    flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16"], "Keras policy.")
    flags.DEFINE_bool("quick", False, "Models of toy size: to see that it works.")
    flags.DEFINE_string("output", f"{report.FOLDER}/memory.json", "JSON; a .png beside it.")


def main(argv: list[str]) -> None:
    """Measures, prints, writes."""
    del argv
    asked = flags.FLAGS
    common = {"precision": asked.precision, "small": asked.quick}
    if asked.preset is None:
        wanted = [dataclasses.replace(spec, **common) for spec in DEFAULT]
    else:
        common.update(batch_size=asked.batch, recompute=asked.recompute)
        wanted = specs(asked.preset, asked.measure, asked.attention, **common)
    rows = []
    for spec in wanted:
        sizes = children.run(_measure, spec, fresh=not spec.small)
        rows.append({**dataclasses.asdict(spec), "title": spec.title, **sizes})
        taken = report.gibibytes(sizes["peak_bytes"])
        print(f"{spec.title}, {spec.attention}: {taken}", flush=True)
    show(rows)
    output = Path(asked.output)
    report.write(output, {"machine": machine.describe(), "quick": asked.quick, "rows": rows})
    report.draw(output.with_suffix(".png"), memory_plot.figure(rows))
    print(f"{output} and {output.with_suffix('.png')} written")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
