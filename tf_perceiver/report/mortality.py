"""The report on who dies: how well it is ranked, what probabilities mean, and some stays."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_perceiver.report import ranks, sections, stays
from tf_perceiver.report.page import Headline, Section, Table
from tf_perceiver.report.run import Batches, Run

CURVES = (
    ("loss", "loss", False),
    ("auroc", "area under the ROC curve", True),
    ("auprc", "area under the precision-recall curve", True),
    ("learning_rate", "learning rate", False),
)
SHOWN = 3  # Stays of each kind.
RISKS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # Ends of the groups whose outcome is counted.
LISTED_VARIABLES = 15
_NOT_INPUTS = frozenset({"label", "weight", "shown"})  # Of a batch.

Stay = dict[str, np.ndarray]  # The model's inputs of one example.


@dataclasses.dataclass(frozen=True)
class Answered:
    """The answers on every example of a split.

    Attributes:
      score: float32 [n], log-odds of death. risk: float64 [n], its probability.
      died: bool [n].
      highest, lowest: stays of the highest and the lowest risk, as (inputs, index).
      missed: of those who died, the ones of the lowest risk.
    """

    score: np.ndarray
    risk: np.ndarray
    died: np.ndarray
    highest: list[tuple[Stay, int]]
    lowest: list[tuple[Stay, int]]
    missed: list[tuple[Stay, int]]


def parts(run: Run, batches: Batches) -> tuple[list[Headline], list[Section]]:
    """How well the model ranks, how well it is calibrated, some stays, and what it looks at.

    Args:
      run: whose model is run once over the batches.
      batches: of the evaluation split, with "label", one-hot [B, 2], and "weight" [B].

    Raises:
      ValueError: the batches hold no example.
    """
    answered = answers(run, batches)
    whole = run.task.whole({"score": answered.score, "positive": answered.died})
    found = [sections.curves(run, CURVES), ranked(answered, whole), calibrated(answered)]
    if run.data["modality"] == "series":
        found += [examples(run, answered), looked_at(run, answered)]
    return headlines(run, answered, whole), found


def answers(run: Run, batches: Batches) -> Answered:
    """Runs the model over a split once, and keeps the inputs of a few stays."""
    import tensorflow as tf

    predict = tf.function(lambda inputs: run.model(inputs, training=False), autograph=False)
    scores, deaths, seen = [], [], 0
    kept: dict[str, list[tuple[float, int, Stay]]] = {"highest": [], "lowest": [], "missed": []}
    for batch in batches:
        inputs = {name: field for name, field in batch.items() if name not in _NOT_INPUTS}
        told = {name: np.asarray(value) for name, value in
                run.task.kept(predict(inputs), batch).items()}  # fmt: skip
        for i in np.flatnonzero(np.asarray(batch["weight"]) > 0):
            score, died = float(told["score"][i]), bool(told["positive"][i])
            # A number for each kind: the smaller, the more worth a look.
            worth = {"highest": -score, "lowest": score} | ({"missed": score} if died else {})
            for kind, value in worth.items():
                if len(kept[kind]) < SHOWN or value < kept[kind][-1][0]:
                    one = {name: np.array(field[i]) for name, field in inputs.items()}
                    kept[kind].append((value, seen, one))
                    kept[kind] = sorted(kept[kind], key=lambda entry: entry[:2])[:SHOWN]
            scores.append(score)
            deaths.append(died)
            seen += 1
    if not seen:
        raise ValueError("there is no example to report on: the evaluation split is empty")
    score, died = np.array(scores, np.float64), np.array(deaths)
    chosen = {kind: [(one, i) for _, i, one in entries] for kind, entries in kept.items()}
    return Answered(score, 1 / (1 + np.exp(-score)), died, **chosen)


def headlines(run: Run, answered: Answered, whole: dict[str, float]) -> list[Headline]:
    """The two areas with their intervals, and how many died."""
    found = []
    for name, said in (("auroc", "area under the ROC curve"), ("auprc", "average precision")):
        text = f"{said} on {run.split}"
        if f"{name}_low" in whole:
            text += f" (95 %: {whole[f'{name}_low']:.3f} to {whole[f'{name}_high']:.3f})"
        found.append(Headline(f"{whole[name]:.3f}", text))
    deaths = int(answered.died.sum())
    found.append(Headline(f"{deaths:,} of {len(answered.died):,}", f"{run.labels[1]} in truth"))
    return found


def ranked(answered: Answered, whole: dict[str, float]) -> Section:
    """Both curves; none where all examples are of one kind."""
    text = (
        "Stays in the order of their risk. Left: of those who died, the share that is found at the "
        "price of false alarms among those who survived. Right: the share of alarms that are true."
    )
    if np.isnan(whole["auroc"]):
        return Section("Ranking", "All stays have the same outcome: there is nothing to rank.")
    figure = ranks.curves(answered.score, answered.died)
    alt = "ROC curve and precision-recall curve."
    caption = "Dashed: what drawing lots would give. Bands: 95 % of the bootstrap's curves."
    return Section("Ranking", text, [sections.picture("ranking", figure, alt, caption)])


def calibrated(answered: Answered) -> Section:
    """How many die in groups of similar risk."""
    rows = []
    for low, high in zip(RISKS, RISKS[1:], strict=False):
        group = (answered.risk >= low) & ((answered.risk < high) | (high == 1))
        if count := int(group.sum()):
            rows.append(
                (
                    f"{100 * low:.0f} to {100 * high:.0f} %",
                    f"{count:,}",
                    f"{100 * answered.risk[group].mean():.1f} %",
                    f"{100 * answered.died[group].mean():.1f} %",
                )
            )
    header = ("predicted risk", "stays", "mean predicted", "died")
    table = Table("Outcome by predicted risk", header, tuple(rows), frozenset({1, 2, 3}))
    text = "A probability can be trusted where, of many stays, as large a share dies."
    return Section("Probabilities", text, (), [table])


def examples(run: Run, answered: Answered) -> Section:
    """Stays of the highest and lowest risk, and those who died against the odds."""
    shown = []
    for kind, chosen in (
        ("highest risk", answered.highest),
        ("lowest risk", answered.lowest),
        ("died at the lowest risk", answered.missed),
    ):
        for one, i in chosen:
            outcome = run.labels[int(answered.died[i])]
            shown.append((one, f"{kind}\n{100 * answered.risk[i]:.1f} %, {outcome}"))
    names = run.info.properties["names"]
    figure = stays.drawn(shown, names, run.data["series"]["hours"])
    alt = "Measurements of a few stays over time, by variable."
    text = "Every dot is a measurement: when, of what, and how far from the training stays' mean."
    caption = (
        "From two deviations below the mean (blue) to two above it (red), of the logarithm for "
        "what spans orders of magnitude. Rows are those variables that any of these stays has."
    )
    return Section("Stays", text, [sections.picture("stays", figure, alt, caption)])


def looked_at(run: Run, answered: Answered) -> Section:
    """Which variables the first cross-attend takes from, beside how often they are measured."""
    names = run.info.properties["names"]
    share, attention = np.zeros(len(names)), np.zeros(len(names))
    chosen = [one for one, _ in (*answered.highest, *answered.lowest, *answered.missed)]
    for one in chosen:
        batch = {name: field[None] for name, field in one.items()}
        heads = np.asarray(run.model.first_cross_attention(batch), np.float64)[0]
        weight, real = heads.mean(axis=(0, 1)), one["series_mask"]
        variable = one["series_variable"][real]
        np.add.at(attention, variable, weight[real] / len(chosen))
        np.add.at(share, variable, 1 / real.sum() / len(chosen))
    order = np.argsort(-attention, kind="stable")[:LISTED_VARIABLES]
    rows = tuple(
        (names[i], f"{100 * attention[i]:.1f} %", f"{100 * share[i]:.1f} %") for i in order
    )
    table = Table(
        "Attention by variable", ("variable", "attention", "of the measurements"), rows,
        frozenset({1, 2}),
    )  # fmt: skip
    text = (
        "The first cross-attend's attention, the mean over latents, heads and the stays above. "
        "What gets more of it than its share of the measurements is looked at more closely."
    )
    return Section("Where the model looks", text, (), [table])
