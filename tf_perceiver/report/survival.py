"""The report on survival: do those said to be at risk die sooner, and what is that read from."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tf_perceiver.report import sections, style
from tf_perceiver.report.page import Headline, Section
from tf_perceiver.report.run import Batches, Run

CURVES = (
    ("loss", "loss", False),
    ("c_index", "concordance index", False),
    ("learning_rate", "learning rate", False),
)
SHOWN_PATIENTS = 12
SHOWN_GROUPS = 40

Kept = dict[str, np.ndarray]


def parts(run: Run, batches: Batches) -> tuple[list[Headline], list[Section]]:
    """Concordance; survival of the halves, seen and predicted; the groups that are attended to.

    Args:
      run: whose model is run once over the batches.
      batches: of the evaluation split, with "time", "event" and "weight", each [B].

    Raises:
      ValueError: the batches hold no example.
    """
    kept, attention = _gather(run, batches)
    whole = run.task.whole({name: kept[name] for name in ("risk", "time", "event")})
    found = [
        Headline(f"{kept['event'].sum():,.0f}", f"deaths seen in {run.split}"),
        Headline(f"{len(kept['time']):,}", "patients, each counted once"),
    ]
    if "c_index" in whole:
        found.insert(0, Headline(f"{whole['c_index']:.3f}", f"concordance index on {run.split}"))
    return found, [
        sections.curves(run, CURVES),
        halves(kept),
        patients(kept),
        groups(run, attention),
    ]


def _gather(run: Run, batches: Batches) -> tuple[Kept, np.ndarray]:
    """Answers and truth of every patient, and the mean attention to each input [M]."""
    kept: dict[str, list[np.ndarray]] = {}
    attention = []
    for batch in batches:
        real = np.asarray(batch["weight"]) > 0
        said = run.task.answers(run.model(batch, training=False))
        for name, value in {**said, "time": batch["time"], "event": batch["event"]}.items():
            kept.setdefault(name, []).append(np.asarray(value)[real])
        attention.append(np.mean(run.model.first_cross_attention(batch), axis=(1, 2))[real])
    if not sum(len(part) for part in attention):
        raise ValueError(f"split {run.split!r} has no example to report on")
    joined = {name: np.concatenate(values) for name, values in kept.items()}
    return joined, np.concatenate(attention).mean(axis=0)


def kaplan_meier(time: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The product-limit estimate: the share that outlives each time at which somebody died.

    Args:
      time, event: [n]; those censored at a time were at risk until after its deaths.

    Returns:
      (0 and the times of deaths, rising [K + 1]; 1 and the survival from each on [K + 1]).
    """
    deaths = np.unique(time[event > 0])
    at_risk = (time[None] >= deaths[:, None]).sum(axis=1)
    died = ((time[None] == deaths[:, None]) & (event > 0)).sum(axis=1)
    return np.append(0, deaths), np.append(1, np.cumprod(1 - died / at_risk))


def halves(kept: Kept) -> Section:
    """Kaplan-Meier curves of the halves of higher and lower risk, beside what was predicted."""
    figure, axes = _axes()
    higher = kept["risk"] > np.median(kept["risk"])
    for half, name, color in (
        (higher, "higher risk", style.VERMILION), (~higher, "lower risk", style.BLUE),
    ):  # fmt: skip
        if not half.any():
            continue
        time, event = kept["time"][half], kept["event"][half]
        steps, survival = kaplan_meier(time, event)
        label = f"{name}: {half.sum():,} patients, {event.sum():,.0f} deaths"
        ends = np.append(steps, time.max())
        axes.step(ends, np.append(survival, survival[-1]), where="post", color=color, label=label)
        censored = time[event == 0]
        heights = survival[np.searchsorted(steps, censored, side="right") - 1]
        axes.plot(censored, heights, "|", color=color, markersize=4, alpha=0.5)
        axes.plot(
            np.append(0, kept["times"][0]), np.append(1, kept["survival"][half].mean(axis=0)),
            "--", marker=".", color=color, linewidth=1, label="its mean prediction",
        )  # fmt: skip
    axes.legend(frameon=False, labelcolor=style.INK, fontsize=9)
    caption = (
        "Steps: Kaplan-Meier estimates, with a mark for everyone who was last seen alive. Dashed: "
        "the mean of the curves predicted for the same patients."
    )
    alt = "Survival over months of the halves of higher and lower risk, seen and predicted."
    text = "Divided at the median of the predicted risk. The further apart the steps, the better."
    return Section(
        "Survival by risk", text, [sections.picture("survival_halves", figure, alt, caption)]
    )


def curve(times: np.ndarray, survival: np.ndarray) -> Figure:
    """Draws what is predicted for one patient.

    Args:
      times: [K], months. survival: [K], probabilities of living longer.
    """
    figure, axes = _axes()
    axes.plot(np.append(0, times), np.append(1, survival), color=style.BLUE)
    axes.set_xlim(0, None)
    return figure


def patients(kept: Kept) -> Section:
    """The predicted curves of a few patients, from the lowest risk to the highest."""
    figure, axes = _axes()
    order = np.argsort(kept["risk"], kind="stable")
    count = min(SHOWN_PATIENTS, len(order))
    for patient in order[np.linspace(0, len(order) - 1, count).round().astype(int)]:
        died = kept["event"][patient] > 0
        times = np.append(0, kept["times"][patient])
        curve = np.append(1, kept["survival"][patient])
        color = style.VERMILION if died else style.BLUE
        axes.plot(times, curve, color=color, linewidth=1, alpha=0.8)
        end = float(kept["time"][patient])
        axes.plot(end, np.interp(end, times, curve), "x" if died else "|", color=color)
    caption = (
        "Each line is the curve predicted for a patient. Orange, with a cross at the time: died; "
        "blue, with a bar: last seen alive."
    )
    alt = "Predicted survival curves of single patients."
    text = "Patients spread evenly over the order of predicted risk."
    return Section(
        "Single patients", text, [sections.picture("survival_patients", figure, alt, caption)]
    )


def groups(run: Run, attention: np.ndarray) -> Section:
    """How much of the first cross-attend goes to each group of genes, and to a patch."""
    names, even = list(run.info.properties.get("groups", ())), 1 / len(attention)
    if "patches" in run.info.features and len(names) < len(attention):  # Behind the groups.
        attention = np.append(attention[: len(names)], attention[len(names) :].mean())
        names.append("a patch of a slide")
    if len(names) != len(attention):
        names = [f"input {index}" for index in range(len(attention))]
    order = np.argsort(attention, kind="stable")[-SHOWN_GROUPS:]
    figure = style.figure(7.4, 0.8 + 0.21 * len(order), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(np.arange(len(order)), attention[order] / even, color=style.BLUE)
    axes.axvline(1, color=style.FAINT, linewidth=0.8)
    axes.set_yticks(np.arange(len(order)), [style.plain(names[i]) for i in order], fontsize=8)
    axes.set_xlabel("attention, in multiples of an even one", color=style.INK)
    style.quiet(axes)
    caption = "Mean over patients, heads and latents; the line is what an even attention would be."
    alt = "Bars: the first cross-attend's attention to each group of genes."
    return Section(
        "What the model looks at", "", [sections.picture("attention", figure, alt, caption)]
    )


def _axes() -> tuple[Figure, object]:
    figure = style.figure(7.4, 4.2, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel("months", color=style.INK)
    axes.set_ylabel("alive", color=style.INK)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(color=style.FAINT, alpha=0.25, linewidth=0.6)
    style.quiet(axes)
    return figure, axes
