"""The reports on sentences with labels, and on pairs with a score."""

from __future__ import annotations

import numpy as np

from tf_perceiver.report import classification, sections, style
from tf_perceiver.report.answers import NOT_INPUTS, answers
from tf_perceiver.report.masked_lm import printable
from tf_perceiver.report.page import Headline, Passage, Picture, Section
from tf_perceiver.report.pictures import Sample
from tf_perceiver.report.run import Batches, Run

PASSAGES = 8
NAMES = {"f1": "F1 of the second label", "matthews": "Matthews' correlation"}
CURVES = (*sections.CURVES, ("f1", "F1", False), ("matthews", "Matthews' correlation", False))
SCORED_CURVES = (
    ("loss", "square error", False),
    ("pearson", "Pearson's correlation", False),
    ("spearman", "Spearman's correlation", False),
    ("learning_rate", "learning rate", False),
)


def parts(run: Run, batches: Batches) -> tuple[list[Headline], list[Section]]:
    """The answers, and what is taken for what.

    Args:
      run: whose model is run once over the batches.
      batches: of the evaluation split, with "label", one-hot [B, classes], "weight" [B] and
        "shown", string [B].

    Raises:
      ValueError: the batches hold no example.
    """
    answered = answers(run.model, batches, run.data, run.labels)
    headlines = classification.headlines(answered, run)
    evaluated = run.last_evaluation()
    headlines[1:1] = [
        Headline(f"{evaluated[name]:.4f}", meaning)
        for name, meaning in NAMES.items()
        if name in evaluated
    ]
    return headlines, [
        sections.curves(run, CURVES),
        _answers("Right answers", answered.right[:PASSAGES], run.split),
        _answers("The most confident mistakes", answered.wrong[:PASSAGES], run.split),
        classification.confusions(answered, run.labels),
        classification.classes(answered, run.labels),
    ]


def scored_parts(run: Run, batches: Batches) -> tuple[list[Headline], list[Section]]:
    """Scores beside the true ones, and where they lie farthest apart.

    Args:
      run: whose model is run once over the batches.
      batches: of the evaluation split, with "score" [B], "weight" [B] and "shown", string [B].

    Raises:
      ValueError: the batches hold no example.
    """
    import tensorflow as tf

    predict = tf.function(lambda inputs: run.model(inputs, training=False), autograph=False)
    truths, scores, texts = [], [], []
    for batch in batches:
        kept = np.asarray(batch["weight"]) > 0
        inputs = {name: it for name, it in batch.items() if name not in NOT_INPUTS}
        outputs = predict(inputs)
        found = {name: np.asarray(it)[kept] for name, it in run.task.kept(outputs, batch).items()}
        truths.append(found["truth"])
        scores.append(found["answer"])
        texts += np.asarray(batch["shown"])[kept].tolist()
    truth, score = np.concatenate(truths), np.concatenate(scores)
    if not len(truth):
        raise ValueError("there is no example to report on: the evaluation split is empty")
    values = run.task.whole({"truth": truth, "answer": score})
    headlines = [
        Headline(f"{values['pearson']:.4f}", f"Pearson's correlation on {run.split}"),
        Headline(f"{values['spearman']:.4f}", "Spearman's"),
        Headline(f"{len(truth):,}", "examples, each counted once"),
    ]
    farthest = np.argsort(-np.abs(score - truth), kind="stable")[:PASSAGES]
    passages = [
        Passage(f"said {score[i]:.2f}, is {truth[i]:.2f}", ((_shown(texts[i]), ""),))
        for i in farthest
    ]
    lead = f"Pairs of {run.split} whose score is farthest from the true one."
    return headlines, [
        sections.curves(run, SCORED_CURVES),
        Section("Scores", "", [_scatter(truth, score)]),
        Section("The largest errors", lead, passages=passages),
    ]


def _answers(title: str, samples: list[Sample], split: str) -> Section:
    passages = []
    for sample in samples:
        caption = f"{sample.answer} ({100 * sample.score:.0f} %)"
        if not sample.right:
            caption += f", is {sample.truth} ({100 * sample.truth_score:.0f} %)"
        passages.append(Passage(caption, ((_shown(sample.array.item()), ""),)))
    return Section(title, f"Sentences of {split}.", passages=passages)


def _shown(text: bytes) -> str:
    """Two sentences on a line each."""
    return printable(text.replace(b"\t", b"\n"))


def _scatter(truth: np.ndarray, score: np.ndarray) -> Picture:
    figure = style.figure(4.5, 4.0, layout="constrained")
    axes = figure.subplots()
    axes.plot([truth.min(), truth.max()], [truth.min(), truth.max()], color=style.FAINT, lw=0.8)
    axes.scatter(truth, score, s=6, alpha=0.5, color=style.BLUE, linewidths=0)
    axes.set(xlabel="true score", ylabel="answer")
    style.quiet(axes)
    return sections.picture("scores", figure, "Answers over true scores.", wide=False)
