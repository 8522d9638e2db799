"""The report on zero-shot learning: seen against unseen classes, and every class's accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from tf_perceiver.report import charts, pictures, sections, style, videos
from tf_perceiver.report.page import Headline, Section, Table
from tf_perceiver.report.pictures import Sample
from tf_perceiver.report.run import Batches, Run

CURVES = (
    ("loss", "loss", False),
    ("harmonic_mean", "harmonic mean", True),
    ("zsl_accuracy", "accuracy among the unseen", True),
    ("learning_rate", "learning rate", False),
)
LISTED_MISTAKES = 12
SHOWN_EXAMPLES = 12  # Of as many classes, where there is something to be seen.
BIASES = 101  # That the curve is drawn from.
_NOT_INPUTS = frozenset({"label", "weight", "shown"})  # Of a batch.

Kept = dict[str, np.ndarray]


def parts(run: Run, batches: Batches) -> tuple[list[Headline], list[Section]]:
    """The benchmark's numbers, what the bias trades, accuracies by class, and mistakes.

    Args:
      run: whose model is run once over the batches.
      batches: of the evaluation split, with "label", one-hot [B, classes], and "weight" [B].

    Raises:
      ValueError: the batches hold no example.
    """
    kept, shown = _gather(run, batches)
    whole = run.task.whole(kept)
    confusion = confusions(kept, run.task.answered(kept, whole["bias"]), len(run.labels))
    among = run.task.among_unseen(kept)
    return headlines(whole, len(kept["labels"]), run.split), [
        sections.curves(run, CURVES),
        samples(run, kept, shown, whole["bias"]),
        traded(kept, run.task, whole),
        classes(confusion, run.task.seen, run.labels),
        classes(confusion, ~run.task.seen, run.labels, among),
        mistakes(confusion, run.task.seen, run.labels),
    ]


def _gather(run: Run, batches: Batches) -> tuple[Kept, dict[int, Any]]:
    """What the task keeps of all examples, and what people see of the first of some classes."""
    import tensorflow as tf

    predict = tf.function(lambda inputs: run.model(inputs, training=False), autograph=False)
    found: dict[str, list[np.ndarray]] = {}
    shown: dict[int, Any] = {}
    count, met = 0, set()
    for batch in batches:
        real = np.asarray(batch["weight"]) > 0
        inputs = {name: field for name, field in batch.items() if name not in _NOT_INPUTS}
        for name, value in run.task.kept(predict(inputs), batch).items():
            found.setdefault(name, []).append(np.asarray(value)[real])
        for place, label in zip(np.flatnonzero(real), found["labels"][-1], strict=True):
            if "shown" in batch and label not in met and len(met) < SHOWN_EXAMPLES:
                met.add(label)
                shown[count] = tf.nest.map_structure(
                    lambda field, place=place: np.array(field[place]), batch["shown"]
                )
            count += 1
    if not sum(len(part) for part in found.get("labels", ())):
        raise ValueError(f"split {run.split!r} has no example to report on")
    return {name: np.concatenate(values) for name, values in found.items()}, shown


def samples(run: Run, kept: Kept, shown: dict[int, Any], bias: float) -> Section:
    """Clips with the class that they are taken for.

    Args:
      run: of the model.
      kept: of all examples.
      shown: what people see of some of them, by place; features can't be seen.
      bias: under which they are answered.
    """
    if not shown:
        return Section("Answers")
    places = sorted(shown)
    scores = -kept["distances"][places].astype(np.float64) - bias * run.task.seen
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    chosen = []
    for place, share, truth in zip(places, shares, kept["labels"][places], strict=True):
        answer = int(np.argmax(share))
        names = run.labels[truth], run.labels[answer]
        chosen.append(Sample(shown[place], {}, *names, float(share[answer]), float(share[truth])))
    caption = (
        "The answer and its probability; where it is wrong, below it the true class and the "
        "probability that it got."
    )
    picture = sections.picture(
        "samples", pictures.samples(chosen), "Clips with the class that is named.", caption
    )
    return Section("Answers", f"Clips of {run.split}. {videos.legend(run.data)}", [picture])


def headlines(whole: dict[str, float], examples: int, split: str) -> list[Headline]:
    """Harmonic mean, seen, unseen and zero-shot accuracy, and how many examples."""
    said = {
        "harmonic_mean": f"harmonic mean of seen and unseen on {split}, bias {whole['bias']:g}",
        "seen_accuracy": "of the seen classes, among all",
        "unseen_accuracy": "of the unseen classes, among all",
        "zsl_accuracy": "of the unseen classes, among the unseen",
    }
    found = [Headline(_percent(whole[name]), text) for name, text in said.items()]
    return [*found, Headline(f"{examples:,}", "examples, each counted once")]


def _percent(share: float) -> str:
    return "none" if np.isnan(share) else f"{100 * share:.2f} %"


def confusions(kept: Kept, answered: np.ndarray, classes: int) -> np.ndarray:
    """int64 [classes, classes], row: truth, column: answer."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (kept["labels"], answered), 1)
    return counts


def traded(kept: Kept, task: Any, whole: dict[str, float]) -> Section:
    """Seen accuracy, unseen accuracy and their harmonic mean over the bias."""
    highest = max(float(np.max(task.biases)), whole["bias"], 1e-3)
    biases = np.linspace(0.0, highest, BIASES)
    found = [task.under(kept, bias) for bias in biases]
    figure = style.figure(7.4, 3.8, layout="constrained")
    axes = figure.add_subplot()
    for name, label, color, line in (
        ("seen_accuracy", "seen classes", style.BLUE, "-"),
        ("unseen_accuracy", "unseen classes", style.VERMILION, "-"),
        ("harmonic_mean", "harmonic mean", style.INK, "--"),
    ):
        values = [one[name] for one in found]
        axes.plot(biases, values, color=color, linestyle=line, label=label)
    axes.axvline(whole["bias"], color=style.FAINT, linewidth=1)
    axes.set_xlabel("bias, added to the distance of seen classes", color=style.INK)
    axes.set_ylabel("accuracy, mean over classes", color=style.INK)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, labelcolor=style.INK, fontsize=9)
    axes.grid(color=style.FAINT, alpha=0.25, linewidth=0.6)
    style.quiet(axes)
    own = "chosen on this split" if task.bias < 0 else "given by the config"
    text = (
        "Answers are among all classes. A class that training never saw wins more often, the "
        "longer the distances of the others are made."
    )
    caption = f"The upright line is the bias {whole['bias']:g}, {own}."
    alt = "Accuracies of seen and unseen classes and their harmonic mean over the bias."
    return Section(
        "Seen against unseen", text, [sections.picture("stacking", figure, alt, caption)]
    )


def classes(
    confusion: np.ndarray,
    which: np.ndarray,
    labels: tuple[str, ...],
    among: np.ndarray | None = None,
) -> Section:
    """Accuracies of the seen or of the unseen classes.

    Args:
      confusion: of all classes. which: bool [classes], those that are told.
      labels: class names.
      among: [classes], the accuracy of unseen ones among themselves; None for the seen.
    """
    name = "seen" if among is None else "unseen"
    mine = confusion * which[:, None]
    title, totals = f"Accuracy of the {name} classes", mine.sum(axis=1)
    if not totals.any():
        return Section(title)  # Left out: the headline says that there are none.
    kept = np.flatnonzero(totals)
    shares = np.diag(mine)[kept] / totals[kept]
    header = ("class", "accuracy", *(() if among is None else ("among the unseen",)), "examples")
    rows = tuple(
        (
            labels[kept[i]],
            _percent(shares[i]),
            *(() if among is None else (_percent(among[kept[i]]),)),
            f"{totals[kept[i]]:,}",
        )
        for i in np.argsort(-shares, kind="stable")
    )
    numeric = frozenset(range(1, len(header)))
    table = Table(f"{name.capitalize()} classes, best first", header, rows, numeric)
    picture = sections.picture(
        f"classes_{name}",
        charts.class_accuracy(mine, labels),
        f"Accuracy of every {name} class.",
        "Bars and bands: the 95 % interval that the number of examples allows (Wilson).",
    )
    return Section(title, "Among all classes, under the bias.", [picture], [table])


def mistakes(confusion: np.ndarray, seen: np.ndarray, labels: tuple[str, ...]) -> Section:
    """How often the answer is on the wrong side, and the most frequent mistakes by name."""
    totals = [confusion[which].sum() for which in (seen, ~seen)]
    crossed = [confusion[seen][:, ~seen].sum(), confusion[~seen][:, seen].sum()]
    text = "; ".join(
        f"of {total:,} examples of {name} classes, {wrong:,} are taken for {other} ones"
        for total, wrong, name, other in zip(
            totals, crossed, ("seen", "unseen"), ("unseen", "seen"), strict=True
        )
    )
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:LISTED_MISTAKES]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    rows = tuple(
        (labels[truth], labels[answer], f"{wrong[truth, answer]:,}")
        for truth, answer in pairs
        if wrong[truth, answer]
    )
    header = ("truth", "answer", "examples")
    tables = [Table("Most frequent mistakes", header, rows, frozenset({2}))] if rows else []
    return Section("What is taken for what", text[:1].upper() + text[1:] + ".", (), tables)
