"""What each part of the report says and shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from tf_perceiver.report import charts, pictures, sounds, style
from tf_perceiver.report.answers import Answers, attention_maps
from tf_perceiver.report.page import Headline, Picture, Section, Table
from tf_perceiver.training.progress import duration

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo

Rows = list[dict[str, Any]]  # Of metrics.jsonl, by step.

ATTENTION_EXAMPLES = 4
ATTENTION_LATENTS = 6
LISTED_PAIRS = 12
LISTED_CLASSES = 10


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


def headlines(answered: Answers, rows: Rows, split: str, step: int) -> list[Headline]:
    """The numbers that people come for, of the evaluation just done on `split`."""
    found = [Headline(f"{100 * answered.accuracy:.2f} %", f"accuracy on {split}")]
    evaluations = [row for row in rows if row["kind"] == "eval" and row["step"] == step]
    if evaluations and "top5_accuracy" in evaluations[-1]:
        top5 = evaluations[-1]["top5_accuracy"]
        found.append(Headline(f"{100 * top5:.2f} %", "the truth is among the five most probable"))
    found.append(Headline(f"{answered.examples:,}", "examples, each counted once"))
    return found


def facts(
    model: Any, config: Mapping[str, Any], info: DatasetInfo, rows: Rows, step: int
) -> list[tuple[str, str]]:
    """What was trained, on what, and how long, as (name, value)."""
    parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    splits = ", ".join(f"{name} {split.records:,}" for name, split in info.splits.items())
    batch_size = config["data"]["batch_size"]
    found = [
        ("Config", config["name"]),
        ("Parameters", f"{parameters:,}"),
        ("Steps", f"{step:,} of {batch_size:,} examples"),
        ("Dataset", f"{info.name}: {splits}"),
        ("Classes", f"{len(info.labels):,}"),
        ("Dataset fingerprint", info.fingerprint[:16]),
    ]
    seconds = training_seconds(rows, batch_size)
    if seconds:
        examples = batch_size * max(row["step"] for row in rows if row["kind"] == "train")
        found.append(("Time in training steps", duration(seconds)))
        found.append(("Speed", f"{examples / seconds:,.0f} examples/s"))
    return found


def curves(rows: Rows, split: str) -> Section:
    """Loss, accuracy and learning rate over the steps; without rows, a section without pictures."""

    def series(field: str) -> list[charts.Series]:
        found = []
        for kind, name in (("train", "training"), ("eval", split)):
            chosen = [row for row in rows if row["kind"] == kind and field in row]
            if chosen:
                steps = np.array([row["step"] for row in chosen])
                values = np.array([row[field] for row in chosen], np.float64)
                found.append(charts.Series(name, steps, values, kind == "eval"))
        return found

    wanted = {
        "loss": ("cross-entropy, nats", False, "Loss over the steps of training."),
        "accuracy": ("accuracy", True, "Accuracy over the steps of training."),
        "learning_rate": ("learning rate", False, "Learning rate over the steps of training."),
    }
    drawn = [
        _picture(name, charts.curves(series(name), label, percent=percent), alt, wide=False)
        for name, (label, percent, alt) in wanted.items()
        if series(name)
    ]
    text = (
        "Training values are on augmented examples, so they may lie below those on held-out ones."
    )
    return Section("Training", text, drawn)


def samples(answered: Answers, split: str, data: Mapping[str, Any]) -> Section:
    """Right answers of many classes, and the most confident mistakes."""
    drawn, text = [], f"Examples of {split}, as the model sees them."
    rate = sample_rate(data)
    if rate:
        text = f"Clips of {split}. " + sounds.legend(data["audio"]["samples"], rate)
    if answered.right:
        caption = "Right answers and their probabilities."
        figure = pictures.samples(answered.right, rate=rate)
        drawn.append(_picture("samples_right", figure, "Examples answered right.", caption))
    if answered.wrong:
        caption = (
            "The most confident mistakes: the answer and its probability, below it the true class "
            "and the probability that it got."
        )
        figure = pictures.samples(answered.wrong, rate=rate)
        drawn.append(_picture("samples_wrong", figure, "Examples answered wrong.", caption))
    return Section("Answers", text, drawn)


def sample_rate(data: Mapping[str, Any]) -> int:
    """Of a config's sound in Hz; 0 where it has none."""
    return data["audio"]["sample_rate"] if data["modality"] == "audio" else 0


def attention(model: Any, answered: Answers, data: Mapping[str, Any]) -> Section:
    """Where the first cross-attend looks in a few of the examples."""
    examples = answered.right or answered.wrong
    # Spread over the classes: the first few would be of the first few classes.
    count = min(ATTENTION_EXAMPLES, len(examples))
    spread = [examples[i] for i in np.linspace(0, len(examples) - 1, count).round().astype(int)]
    inputs = [example.input for example in spread]
    maps, chosen, grid = attention_maps(model, data["modality"], inputs, ATTENTION_LATENTS)
    titles = ["all latents", *(f"latent {latent}" for latent in chosen)]
    arrays = [example.array for example in spread]
    caption = (
        "Mean over the heads. Every map has its own scale, from dark (none) to bright (its "
        "maximum), by the square root; below it stands that maximum in multiples of an even "
        "attention."
    )
    if sample_rate(data):
        caption += " Bars show how the attention is spread over time alone."
    figure = pictures.attention(arrays, maps, titles, grid, sample_rate(data))
    text = (
        "The first cross-attend's attention over the input: how much each latent takes from each "
        "place. Shown are the mean over all latents, and latents that look at different places."
    )
    alt = "Maps of the first cross-attend's attention over a few inputs."
    return Section("Where the model looks", text, [_picture("attention", figure, alt, caption)])


def confusions(answered: Answers, labels: tuple[str, ...]) -> Section:
    """The confusion matrix, and its largest entries by name."""
    pairs = tuple(
        (labels[truth], labels[answer], f"{count:,}", f"{100 * share:.1f} %")
        for truth, answer, count in answered.most_confused(LISTED_PAIRS)
        for share in [count / answered.confusion[truth].sum()]
    )
    header = ("truth", "answer", "examples", "of the class")
    tables = [Table("Most frequent mistakes", header, pairs, frozenset({2, 3}))] if pairs else []
    caption = "Every row is in percent of its class; colours follow the square root of the share."
    figure = charts.confusion_matrix(answered.confusion, labels)
    alt = "Confusion matrix: true classes in rows, answers in columns."
    picture = _picture("confusion", figure, alt, caption)
    return Section("What is taken for what", "", [picture], tables)


def classes(answered: Answers, labels: tuple[str, ...]) -> Section:
    """The accuracy of every class; of very many, the lowest and highest by name."""
    totals = answered.confusion.sum(axis=1)
    tables = []
    if len(labels) > charts.LABELLED_CLASSES:
        kept = np.flatnonzero(totals)
        share = np.diag(answered.confusion)[kept] / totals[kept]
        order = np.argsort(share, kind="stable")
        listed = {
            "Lowest accuracy": order[:LISTED_CLASSES],
            "Highest accuracy": order[::-1][:LISTED_CLASSES],
        }
        tables = [
            Table(
                caption,
                ("class", "accuracy", "examples"),
                tuple(
                    (labels[kept[i]], f"{100 * share[i]:.1f} %", f"{totals[kept[i]]:,}")
                    for i in chosen
                ),
                frozenset({1, 2}),
            )
            for caption, chosen in listed.items()
        ]
    figure = charts.class_accuracy(answered.confusion, labels)
    caption = "Bars and bands: the 95 % interval that the number of examples allows (Wilson)."
    picture = _picture("classes", figure, "Accuracy of every class.", caption)
    return Section("Accuracy by class", "", [picture], tables)


def _picture(
    name: str, figure: Figure, alt: str, caption: str = "", *, wide: bool = True
) -> Picture:
    return Picture(name, style.png(figure), alt, caption, wide)
