"""What a task learns from a record, beside the model's inputs. `config.data.target` names it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from pipelines.records import Feature

Fields = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Target:
    """One kind of target.

    Attributes:
        features: the record's fields that it reads.
        prepare: (fields, number of the dataset's labels) to what the batch has of it.
    """

    features: dict[str, Feature]
    prepare: Callable[[Fields, int], dict[str, tf.Tensor]]


def _one_label(fields: Fields, classes: int) -> dict[str, tf.Tensor]:
    return {"label": tf.one_hot(fields["label"], classes)}


def _many_labels(fields: Fields, classes: int) -> dict[str, tf.Tensor]:
    # The maximum over rows of an index, a row of zeros first: a record may have no label at all.
    rows = tf.one_hot(tf.concat([[-1], fields["labels"]], 0), classes)
    return {"label": tf.reduce_max(rows, axis=0)}


def _score(fields: Fields, classes: int) -> dict[str, tf.Tensor]:
    del classes
    return {"score": fields["score"]}


def _survival(fields: Fields, classes: int) -> dict[str, tf.Tensor]:
    del classes
    return {"time": fields["time"], "event": tf.cast(fields["event"], tf.float32)}


TARGETS = {
    "label": Target({"label": Feature("int64")}, _one_label),
    "labels": Target({"labels": Feature("int64", (None,))}, _many_labels),
    "none": Target({}, lambda fields, classes: {}),
    "score": Target({"score": Feature("float32")}, _score),
    "survival": Target({"time": Feature("float32"), "event": Feature("int64")}, _survival),
}
"""By name: `label` gives "label", float32 `[classes]`, one-hot; `labels` the same with a 1 for
every label of the record; `score` gives "score", a float32 scalar; `survival` gives "time" and
"event", float32 scalars, the event being 1 where it was observed and 0 where the record is
censored. With `none` the modality brings its own target."""
