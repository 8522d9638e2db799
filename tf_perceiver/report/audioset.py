"""The report on a task with any number of labels an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tf_perceiver.report import pictures, ranks, sections, sounds, style, videos
from tf_perceiver.report.page import Headline, Section, Table
from tf_perceiver.report.pictures import Sample
from tf_perceiver.report.run import Batches, Run

SHOWN_EXAMPLES = 6  # Right ones, and as many wrong ones.
DRAWN_CLASSES = 6
LISTED_CLASSES = 20
CURVES = (
    ("loss", "loss", False),
    ("mean_average_precision", "mean average precision", False),
    ("mean_auc", "mean area under the ROC curve", False),
    ("learning_rate", "learning rate", False),
)
_NOT_INPUTS = frozenset({"label", "weight", "shown"})  # Of a batch.


def parts(run: Run, batches: Batches) -> tuple[list[Headline], list[Section]]:
    """Average precision by class, curves of precision and recall, and examples.

    Args:
      run: whose model is run once over the batches.
      batches: of the evaluation split, with "label" [B, classes], "shown", and "weight" [B].

    Raises:
      ValueError: the batches hold no example.
    """
    kept, right, wrong = collected(run, batches)
    found = run.task.by_class(kept)
    return headlines(run, kept), [
        sections.curves(run, CURVES),
        samples(run, right, wrong),
        precision_and_recall(kept, found["average_precision"], run.labels),
        classes(kept, found, run.labels),
    ]


def collected(
    run: Run, batches: Batches
) -> tuple[dict[str, np.ndarray], list[Sample], list[Sample]]:
    """Scores and labels of every example, and examples whose surest answer is right, or wrong.

    Raises:
      ValueError: the batches hold no example.
    """
    import tensorflow as tf

    @tf.function(autograph=False)
    def keep(inputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> dict:
        return run.task.kept(run.model(inputs, training=False), batch)

    kept: dict[str, list[np.ndarray]] = {}
    right: list[Sample] = []
    wrong: list[Sample] = []
    for batch in batches:
        inputs = {name: field for name, field in batch.items() if name not in _NOT_INPUTS}
        counted = np.flatnonzero(np.asarray(batch["weight"]) > 0)
        answered = {
            name: np.asarray(field)[counted]
            for name, field in keep(inputs, {"label": tf.constant(batch["label"])}).items()
        }
        for name, field in answered.items():
            kept.setdefault(name, []).append(field)
        for i, score, label in zip(counted, answered["scores"], answered["labels"], strict=True):
            album = right if label[np.argmax(score)] else wrong
            if len(album) < SHOWN_EXAMPLES:
                album.append(_sample(batch, i, score, label, run.labels))
    if not sum(map(len, kept.get("scores", []))):
        raise ValueError("there is no example to report on: the evaluation split is empty")
    return {name: np.concatenate(fields) for name, fields in kept.items()}, right, wrong


def headlines(run: Run, kept: Mapping[str, np.ndarray]) -> list[Headline]:
    """The numbers that people come for."""
    whole = run.task.whole(kept)
    return [
        Headline(f"{whole['mean_average_precision']:.3f}", f"mean average precision, {run.split}"),
        Headline(f"{whole['mean_auc']:.3f}", "mean area under the ROC curve"),
        Headline(f"{len(kept['scores']):,}", "examples, each counted once"),
    ]


def samples(run: Run, right: list[Sample], wrong: list[Sample]) -> Section:
    """Clips with the surest label of each."""
    data, drawn, rate = run.data, [], 0
    if data["modality"].endswith("video"):
        text = videos.legend(data)
    else:
        rate = data["audio"]["sample_rate"]
        text = sounds.legend(data["audio"]["samples"], rate)
    for name, chosen, caption in (
        ("samples_right", right, "The surest label and its probability, where the clip has it."),
        (
            "samples_wrong",
            wrong,
            "The surest label, where the clip hasn't got it, and below the surest of its own.",
        ),
    ):
        if chosen:
            figure = pictures.samples(chosen, rate=rate)
            drawn.append(sections.picture(name, figure, "Clips with their surest label.", caption))
    return Section("Answers", f"Clips of {run.split}. {text}", drawn)


def precision_and_recall(
    kept: Mapping[str, np.ndarray], precisions: np.ndarray, labels: tuple[str, ...]
) -> Section:
    """Curves of the most frequent classes."""
    counts = kept["labels"].sum(axis=0)
    order = [c for c in np.argsort(-counts, kind="stable")[:DRAWN_CLASSES] if counts[c]]
    if not order:
        return Section("Precision and recall", "No example has a label.")
    figure = draw_curves(kept, order, precisions, labels)
    caption = "AP is the average precision, the area below the curve without interpolation."
    alt = "Precision over recall of the most frequent classes."
    picture = sections.picture("precision_recall", figure, alt, caption)
    return Section("Precision and recall", "Of the most frequent labels.", [picture])


def draw_curves(
    kept: Mapping[str, np.ndarray],
    order: list[int],
    precisions: np.ndarray,
    labels: tuple[str, ...],
) -> Figure:
    """Draws precision over recall.

    Args:
      kept: "scores", "labels" [n, classes].
      order: the classes to draw.
      precisions: average precision of every class.
      labels: class names.
    """
    figure = style.figure(6.4, 4.2, layout="constrained")
    axes = figure.add_subplot()
    colors = colormaps["viridis"](np.linspace(0, 0.9, len(order)))
    for c, color in zip(order, colors, strict=True):
        recall, precision = ranks.precision_by_recall(kept["labels"][:, c], kept["scores"][:, c])
        name = f"{style.plain(style.shorten(labels[c]))}, AP {precisions[c]:.2f}"
        axes.step(recall, precision, where="post", color=color, linewidth=1.4, label=name)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_xlabel("recall", color=style.INK)
    axes.set_ylabel("precision", color=style.INK)
    axes.grid(color=style.FAINT, alpha=0.25, linewidth=0.6)
    style.quiet(axes)
    axes.legend(frameon=False, labelcolor=style.INK, fontsize=8)
    return figure


def classes(
    kept: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], labels: tuple[str, ...]
) -> Section:
    """Average precision of every class, or of those with the highest and the lowest."""
    counts, precisions, areas = kept["labels"].sum(axis=0), found["average_precision"], found["auc"]
    order = [int(c) for c in np.argsort(-precisions, kind="stable") if counts[c]]
    rows = [
        (labels[c], f"{precisions[c]:.3f}", f"{areas[c]:.3f}" if areas[c] == areas[c] else "–",
         f"{counts[c]:,}")
        for c in order
    ]  # fmt: skip
    header = ("label", "average precision", "area under ROC", "examples")
    numeric = frozenset({1, 2, 3})
    if len(rows) <= 2 * LISTED_CLASSES:
        tables = [Table("By average precision", header, tuple(rows), numeric)]
    else:
        tables = [
            Table("Highest average precision", header, tuple(rows[:LISTED_CLASSES]), numeric),
            Table("Lowest", header, tuple(rows[: -LISTED_CLASSES - 1 : -1]), numeric),
        ]
    missing = len(labels) - len(rows)
    text = f"No example of the split has one of the other {missing:,} labels." if missing else ""
    return Section("Labels", text, [], tables)


def _sample(
    batch: Mapping[str, Any], i: int, score: np.ndarray, label: np.ndarray, labels: tuple[str, ...]
) -> Sample:
    shown = batch["shown"]
    if isinstance(shown, Mapping):
        array = {name: np.array(field[i]) for name, field in shown.items()}
    else:
        array = np.array(shown[i])
    answer, truth, truth_score = int(np.argmax(score)), "none of them", 0.0
    if label.any():
        best = answer if label[answer] else int(np.argmax(np.where(label, score, -1)))
        truth, truth_score = labels[best], float(score[best])
    return Sample(array, {}, truth, labels[answer], float(score[answer]), truth_score)
