"""What a model answers on a whole split: its confusions, and the examples worth a look."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tf_perceiver.report.pictures import Sample

NOT_INPUTS = frozenset({"label", "weight", "shown"})  # Of a batch.


@dataclasses.dataclass(frozen=True)
class Answers:
    """The answers on every example of a split.

    Attributes:
      confusion: int64 [classes, classes], row: truth, column: answer.
      right: examples answered right, of as many classes as possible, in the order of the classes.
      wrong: the mistakes made with the highest probability, the highest first.
    """

    confusion: np.ndarray
    right: list[Sample]
    wrong: list[Sample]

    @property
    def examples(self) -> int:
        """Number of examples, padding left out."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of right answers in [0, 1]."""
        return float(np.trace(self.confusion)) / self.examples

    def most_confused(self, count: int) -> list[tuple[int, int, int]]:
        """The most frequent mistakes as (truth, answer, examples), the most frequent first."""
        mistakes = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
        pairs = zip(*np.unravel_index(order, mistakes.shape), strict=True)
        return [
            (int(row), int(column), int(mistakes[row, column]))
            for row, column in pairs
            if mistakes[row, column]
        ]


def answers(
    model: Any,
    batches: Iterable[Mapping[str, Any]],
    data: Mapping[str, Any],
    labels: tuple[str, ...],
    count: int = 12,
) -> Answers:
    """Runs the model over a split once.

    Only the examples that may be shown are kept, so memory doesn't grow with the split.

    Args:
      model: called as `model(inputs, training=False)` -> logits [B, classes].
      batches: `pipelines.input_pipeline.eval_stream`, or anything like it: the model's inputs, such
        as "image" [B, H, W, C], "label": one-hot [B, classes], "weight": [B], 0 for padding;
        "shown", where there is one, is what people look at instead of the model's input.
      data: `config.data`.
      labels: class names.
      count: how many right and how many wrong examples to keep at most.

    Raises:
      ValueError: if the batches hold no example.
    """
    import tensorflow as tf

    predict = tf.function(
        lambda inputs: tf.nn.softmax(model(inputs, training=False)), autograph=False
    )
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    album = _Album(len(labels), count)
    for batch in batches:
        inputs = {name: field for name, field in batch.items() if name not in NOT_INPUTS}
        kept = np.flatnonzero(np.asarray(batch["weight"]) > 0)
        probabilities = np.asarray(predict(inputs))
        truths = np.argmax(batch["label"], axis=-1)
        guesses = np.argmax(probabilities, axis=-1)
        np.add.at(confusion, (truths[kept], guesses[kept]), 1)
        for i in kept:
            truth, guess = int(truths[i]), int(guesses[i])
            score, truth_score = (float(probabilities[i, label]) for label in (guess, truth))
            if album.wants(truth, guess, score):
                # Copies: a view would keep the whole batch alive.
                one = {name: np.array(field[i]) for name, field in inputs.items()}
                if "shown" in batch:
                    seen = tf.nest.map_structure(
                        lambda field, i=i: np.array(field[i]), batch["shown"]
                    )
                else:
                    seen = picture(one[data["modality"]], data)
                sample = Sample(seen, one, labels[truth], labels[guess], score, truth_score)
                album.add(truth, sample)
    if not confusion.sum():
        raise ValueError("there is no example to report on: the evaluation split is empty")
    return Answers(confusion, album.right, album.wrong)


class _Album:
    """Collects at most `count` right and `count` wrong examples, the more telling ones.

    Right ones: the first of each class (with more classes than `count`, of classes evenly spread
    over all of them), then the first of any class. Wrong ones: those of the highest probability.
    """

    def __init__(self, classes: int, count: int) -> None:
        self._count = count
        self._spread = set(np.linspace(0, classes - 1, min(count, classes)).round().astype(int))
        self._firsts: dict[int, Sample] = {}
        self._others: list[tuple[int, Sample]] = []
        self._wrong: list[tuple[float, int, Sample]] = []  # A heap, the least confident on top.
        self._order = itertools.count()

    def wants(self, truth: int, guess: int, score: float) -> bool:
        """Whether such an example would be taken."""
        if truth != guess:
            return len(self._wrong) < self._count or score > self._wrong[0][0]
        return self._is_first(truth) or len(self._others) < self._count

    def add(self, truth: int, sample: Sample) -> None:
        """Takes an example that it `wants`."""
        if not sample.right:
            # The running number breaks ties in favour of the first one seen.
            heapq.heappush(self._wrong, (sample.score, -next(self._order), sample))
            if len(self._wrong) > self._count:
                heapq.heappop(self._wrong)
        elif self._is_first(truth):
            self._firsts[truth] = sample
        else:
            self._others.append((truth, sample))

    @property
    def right(self) -> list[Sample]:
        """In the order of their classes."""
        chosen = [*self._firsts.items(), *self._others[: self._count - len(self._firsts)]]
        return [sample for _, sample in sorted(chosen, key=lambda entry: entry[0])]

    @property
    def wrong(self) -> list[Sample]:
        """The most confident first."""
        ordered = sorted(self._wrong, key=lambda entry: entry[:2], reverse=True)
        return [sample for _, _, sample in ordered]

    def _is_first(self, truth: int) -> bool:
        return truth in self._spread and truth not in self._firsts


def picture(array: np.ndarray, data: Mapping[str, Any]) -> np.ndarray:
    """Turns a model's input back into what people look at.

    Args:
      array: normalised image float32 [H, W, C], points float32 [n, 3], or samples float32 [n].
      data: `config.data`, whose mean and standard deviation the image was normalised with, and
        whose order its pixels were put into.

    Returns:
      The image with values in [0, 1], its pixels in their places; or the others as they are.
    """
    if data["modality"] != "image":
        return array.copy()
    image = data["image"]
    shown = np.clip(array * np.asarray(image["std"]) + np.asarray(image["mean"]), 0, 1)
    return in_place(shown.reshape(-1, shown.shape[-1]), data).reshape(shown.shape)


def in_place(values: np.ndarray, data: Mapping[str, Any]) -> np.ndarray:
    """Puts values of the inputs back to where their pixels were before they were permuted.

    Args:
      values: [M, ...], one for each input in the model's order.
      data: `config.data`; without a permutation, and for inputs that are not single pixels, the
        values stay as they are.
    """
    from pipelines import image

    cfg = data.get("image") if data["modality"] == "image" else None
    order = image.permutation(cfg) if cfg is not None else None
    if order is None or len(order) != len(values):
        return values
    placed = np.empty_like(values)
    placed[order] = values
    return placed


def attention_maps(
    model: Any, inputs: list[Mapping[str, np.ndarray]], latents: int
) -> tuple[list[np.ndarray], list[int], tuple[int, ...] | None]:
    """The first cross-attend's attention, the mean over its heads, on a few examples.

    One example at a time: for 50,176 pixels and 512 latents a single map takes 100 MB a head.

    Args:
      model: has `first_cross_attention(batch)` -> [B, heads, N, M] and `input_grid(batch)`.
      inputs: examples as the model reads them, by name.
      latents: how many latents to show.

    Returns:
      For each example float32 [1 + latents, M], the mean over all latents and then the chosen ones;
      the chosen latents' indices; the grid that M enumerates, or None for points.
    """
    maps, chosen, grid = [], None, None
    for one in inputs:
        batch = {name: field[None] for name, field in one.items()}
        heads = np.asarray(model.first_cross_attention(batch), np.float32)
        mean = heads[0].mean(axis=0)
        if chosen is None:
            chosen, grid = choose_latents(mean, latents), model.input_grid(batch)
        maps.append(np.concatenate([mean.mean(axis=0, keepdims=True), mean[chosen]]))
    return maps, chosen or [], grid


def choose_latents(attention: np.ndarray, count: int) -> list[int]:
    """Latents that look at different places: each is the farthest from those chosen before it.

    Args:
      attention: [N, M], rows are distributions over the inputs.
      count: how many to choose at most.

    Returns:
      Their indices in rising order. The first choice is the latent farthest from the mean, the
      distance is total variation.
    """
    nearest = np.abs(attention - attention.mean(axis=0)).sum(axis=1)
    chosen: list[int] = []
    while len(chosen) < min(count, len(attention)):
        chosen.append(int(np.argmax(nearest)))
        distance = np.abs(attention - attention[chosen[-1]]).sum(axis=1)
        nearest = distance if len(chosen) == 1 else np.minimum(nearest, distance)
        nearest[chosen] = -1.0
    return sorted(chosen)
