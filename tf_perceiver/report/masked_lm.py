"""The report on a masked language model: texts with what was hidden and what was found."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from pipelines.text import SPECIAL
from tf_perceiver.report import sections
from tf_perceiver.report.page import Headline, Passage, Section, Table
from tf_perceiver.report.run import Batches, Run

PASSAGES = 8
LISTED_PAIRS = 12
CURVES = (
    ("loss", "loss", False),
    ("bits_per_byte", "bits a byte", False),
    ("accuracy", "accuracy", True),
    ("learning_rate", "learning rate", False),
)


def parts(run: Run, batches: Batches) -> tuple[list[Headline], list[Section]]:
    """How much of what was hidden is found, and texts to see it in.

    Args:
      run: whose model is run once over the batches.
      batches: of the evaluation split, with "target" and "masked" [B, L] and "weight" [B].

    Raises:
      ValueError: the batches hold no example with a masked byte.
    """
    import tensorflow as tf

    predict = tf.function(lambda inputs: run.model(inputs, training=False), autograph=False)
    metrics, confusion, passages = run.task.metrics(), np.zeros((256, 256), np.int64), []
    for batch in batches:
        outputs = predict({name: batch[name] for name in ("text", "text_mask")})
        losses = run.task.loss(outputs, batch, training=False)
        run.task.update_metrics(metrics, outputs, batch, losses)
        answers = run.task.answers(outputs)["bytes"].numpy()
        masked = np.asarray(batch["masked"]) & (np.asarray(batch["weight"]) > 0)[:, None]
        target = np.asarray(batch["target"])
        np.add.at(confusion, (target[masked] - SPECIAL, answers[masked]), 1)
        for i in np.flatnonzero(masked.any(axis=1))[: PASSAGES - len(passages)]:
            passages.append(passage(target[i], masked[i], answers[i]))
    if not confusion.sum():
        raise ValueError("there is no masked byte to report on: the evaluation split is empty")
    values = {name: float(metric.result()) for name, metric in metrics.items()}
    headlines = [
        Headline(f"{values['bits_per_byte']:.3f}", f"bits a masked byte of {run.split}"),
        Headline(f"{100 * values['accuracy']:.2f} %", "of the masked bytes are found"),
        Headline(f"{confusion.sum():,}", "masked bytes, each counted once"),
    ]
    text = (
        f"Texts of {run.split}. Words that were hidden are green where every byte was found; else "
        "what the model said is struck out, and what stood there follows."
    )
    return headlines, [
        sections.curves(run, CURVES),
        Section("Hidden words", text, passages=passages),
        Section("What is taken for what", tables=[mistakes(confusion)]),
    ]


def passage(target: np.ndarray, masked: np.ndarray, answer: np.ndarray) -> Passage:
    """One text with its hidden words, as they were answered.

    Args:
      target: tokens int [L]. masked: bool [L]. answer: bytes, int [L].
    """
    found: list[tuple[str, str]] = []
    right = 0
    length = int(np.sum(target >= SPECIAL))
    for hidden, group in groupby(range(length), key=lambda place: bool(masked[place])):
        places = list(group)
        truth = bytes((target[places] - SPECIAL).tolist())
        said = bytes(answer[places].tolist())
        if not hidden:
            found.append((printable(truth), ""))
        elif said == truth:
            found.append((printable(truth), "right"))
        else:
            found += [(printable(said), "wrong"), (printable(truth), "truth")]
        right += sum(a == b for a, b in zip(truth, said, strict=True)) if hidden else 0
    caption = f"{right:,} of {int(masked[:length].sum()):,} hidden bytes found"
    return Passage(caption, tuple(found))


def printable(data: bytes) -> str:
    """Text as a page can hold it: what isn't UTF-8, or would not be seen, gets a sign."""
    text = data.decode(errors="replace")
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{MIDDLE DOT}" for c in text)


def mistakes(confusion: np.ndarray) -> Table:
    """The most frequent wrong bytes.

    Args:
      confusion: int64 [256, 256], row: truth, column: answer.
    """
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:LISTED_PAIRS]
    rows = [
        (_byte(truth), _byte(answer), f"{wrong[truth, answer]:,}", f"{100 * share:.1f} %")
        for truth, answer in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[truth, answer]
        for share in [wrong[truth, answer] / confusion[truth].sum()]
    ]
    header = ("truth", "answer", "bytes", "of the truth")
    return Table("Most frequent mistakes", header, tuple(rows), frozenset({2, 3}))


def _byte(value: Any) -> str:
    return chr(value) if 0x20 < value < 0x7F else f"0x{value:02X}"
