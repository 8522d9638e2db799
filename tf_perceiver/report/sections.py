"""The parts that every report has: the facts, and the curves of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tf_perceiver.report import charts, style
from tf_perceiver.report.page import Picture, Section
from tf_perceiver.report.run import Run
from tf_perceiver.training.progress import duration

Rows = list[dict[str, Any]]  # Of metrics.jsonl, by step.


def training_seconds(rows: Rows, batch_size: int) -> float:
    """Time spent in training steps, evaluations and stops between resumed runs left out.

    Args:
      rows: of `metrics.jsonl`, by step.
      batch_size: global.
    """
    seconds, before = 0.0, 0
    for row in rows:
        if row["kind"] == "train" and row.get("examples_per_second"):
            seconds += (row["step"] - before) * batch_size / row["examples_per_second"]
            before = row["step"]
    return seconds


def facts(run: Run) -> list[tuple[str, str]]:
    """What was trained, on what, and how long, as (name, value)."""
    info = run.info
    parameters = sum(int(np.prod(variable.shape)) for variable in run.model.trainable_variables)
    splits = ", ".join(f"{name} {split.records:,}" for name, split in info.splits.items())
    batch_size = run.data["batch_size"]
    found = [
        ("Config", run.config["name"]),
        ("Parameters", f"{parameters:,}"),
        ("Steps", f"{run.step:,} of {batch_size:,} examples"),
        ("Dataset", f"{info.name}: {splits}"),
    ]
    if info.labels:
        found.append(("Classes", f"{len(info.labels):,}"))
    found.append(("Dataset fingerprint", info.fingerprint[:16]))
    seconds = training_seconds(run.rows, batch_size)
    if seconds:
        examples = batch_size * max(row["step"] for row in run.rows if row["kind"] == "train")
        found.append(("Time in training steps", duration(seconds)))
        found.append(("Speed", f"{examples / seconds:,.0f} examples/s"))
    return found


# Curves are drawn of these, in this order: field of a row, name of its axis, whether in percent.
CURVES = (
    ("loss", "loss", False),
    ("accuracy", "accuracy", True),
    ("learning_rate", "learning rate", False),
)


def curves(run: Run, fields: Sequence[tuple[str, str, bool]] = CURVES) -> Section:
    """Metrics over the steps; without rows, a section without pictures.

    Args:
      run: whose rows are drawn.
      fields: of the rows, each with the name of its axis and whether it is a share in [0, 1].
    """

    def series(field: str) -> list[charts.Series]:
        found = []
        for kind, name in (("train", "training"), ("eval", run.split)):
            chosen = [row for row in run.rows if row["kind"] == kind and field in row]
            if chosen:
                steps = np.array([row["step"] for row in chosen])
                values = np.array([row[field] for row in chosen], np.float64)
                found.append(charts.Series(name, steps, values, kind == "eval"))
        return found

    drawn = [
        picture(
            field,
            charts.curves(series(field), axis, percent=percent),
            f"{axis.capitalize()} over the steps of training.",
            wide=False,
        )
        for field, axis, percent in fields
        if series(field)
    ]
    text = (
        "Training values are on augmented examples, so they may lie below those on held-out ones."
    )
    return Section("Training", text, drawn)


def picture(
    name: str, figure: Figure, alt: str, caption: str = "", *, wide: bool = True
) -> Picture:
    """A drawn figure as the page takes it; `alt` says what it is to those who don't see it."""
    return Picture(name, style.png(figure), alt, caption, wide)
