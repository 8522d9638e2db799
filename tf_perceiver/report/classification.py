"""The report on a task with one label an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_perceiver.report import charts, pictures, sections, sounds, videos
from tf_perceiver.report.answers import Answers, answers, attention_maps, in_place
from tf_perceiver.report.page import Headline, Section, Table
from tf_perceiver.report.run import Batches, Run

ATTENTION_EXAMPLES = 4
ATTENTION_LATENTS = 6
LISTED_PAIRS = 12
LISTED_CLASSES = 10


def parts(run: Run, batches: Batches) -> tuple[list[Headline], list[Section]]:
    """Answers, where the model looks, and what it takes for what.

    Args:
      run: whose model is run once over the batches.
      batches: of the evaluation split, with "label", one-hot [B, classes], and "weight" [B].

    Raises:
      ValueError: the batches hold no example.
    """
    answered = answers(run.model, batches, run.data, run.labels)
    return headlines(answered, run), [
        sections.curves(run),
        samples(answered, run.split, run.data),
        # Of several inputs at once there is no one picture to lay the attention over.
        *([] if several(run.data) else [attention(run.model, answered, run.data)]),
        confusions(answered, run.labels),
        classes(answered, run.labels),
    ]


def headlines(answered: Answers, run: Run) -> list[Headline]:
    """The numbers that people come for, of the evaluation just done."""
    found = [Headline(f"{100 * answered.accuracy:.2f} %", f"accuracy on {run.split}")]
    top5 = run.last_evaluation().get("top5_accuracy")
    if top5 is not None:
        found.append(Headline(f"{100 * top5:.2f} %", "the truth is among the five most probable"))
    found.append(Headline(f"{answered.examples:,}", "examples, each counted once"))
    return found


def samples(answered: Answers, split: str, data: Mapping[str, Any]) -> Section:
    """Right answers of many classes, and the most confident mistakes."""
    drawn, text = [], f"Examples of {split}, as the model sees them."
    rate = sample_rate(data)
    if data["modality"].endswith("video"):
        text = f"Clips of {split}. " + videos.legend(data)
    elif rate:
        text = f"Clips of {split}. " + sounds.legend(data["audio"]["samples"], rate)
    if answered.right:
        caption = "Right answers and their probabilities."
        figure = pictures.samples(answered.right, rate=rate)
        drawn.append(sections.picture("samples_right", figure, "Examples answered right.", caption))
    if answered.wrong:
        caption = (
            "The most confident mistakes: the answer and its probability, below it the true class "
            "and the probability that it got."
        )
        figure = pictures.samples(answered.wrong, rate=rate)
        drawn.append(sections.picture("samples_wrong", figure, "Examples answered wrong.", caption))
    return Section("Answers", text, drawn)


def sample_rate(data: Mapping[str, Any]) -> int:
    """Of a config's sound in Hz; 0 where it has none."""
    return data["audio"]["sample_rate"] if data["modality"] == "audio" else 0


def several(data: Mapping[str, Any]) -> bool:
    """Whether the model reads several inputs of an example at once."""
    return data["modality"] == "audio_video"


def attention(model: Any, answered: Answers, data: Mapping[str, Any]) -> Section:
    """Where the first cross-attend looks in a few of the examples."""
    examples = answered.right or answered.wrong
    # Spread over the classes: the first few would be of the first few classes.
    count = min(ATTENTION_EXAMPLES, len(examples))
    spread = [examples[i] for i in np.linspace(0, len(examples) - 1, count).round().astype(int)]
    inputs = [example.input for example in spread]
    maps, chosen, grid = attention_maps(model, inputs, ATTENTION_LATENTS)
    maps = [in_place(weights.T, data).T for weights in maps]
    titles = ["all latents", *(f"latent {latent}" for latent in chosen)]
    arrays = [example.array for example in spread]
    caption = (
        "Mean over the heads. Every map has its own scale, from dark (none) to bright (its "
        "maximum), by the square root; below it stands that maximum in multiples of an even "
        "attention."
    )
    if data["modality"] == "video":
        caption += " Maps are summed over time; bars show how the attention is spread over it."
    if sample_rate(data):
        caption += " Bars show how the attention is spread over time alone."
    figure = pictures.attention(arrays, maps, titles, grid, sample_rate(data))
    text = (
        "The first cross-attend's attention over the input: how much each latent takes from each "
        "place. Shown are the mean over all latents, and latents that look at different places."
    )
    alt = "Maps of the first cross-attend's attention over a few inputs."
    return Section(
        "Where the model looks", text, [sections.picture("attention", figure, alt, caption)]
    )


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
    picture = sections.picture("confusion", figure, alt, caption)
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
    picture = sections.picture("classes", figure, "Accuracy of every class.", caption)
    return Section("Accuracy by class", "", [picture], tables)
