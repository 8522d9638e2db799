"""What the tasks learn from records: by hand, and for any set of labels."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from pipelines.targets import TARGETS


def prepared(kind, classes, **fields):
    fields = {name: tf.constant(value) for name, value in fields.items()}
    return {name: part.numpy() for name, part in TARGETS[kind].prepare(fields, classes).items()}


def test_one_label_is_one_hot():
    np.testing.assert_array_equal(prepared("label", 3, label=1)["label"], [0, 1, 0])


@given(st.sets(st.integers(0, 6)))
def test_many_labels_are_a_one_each(labels):
    found = prepared("labels", 7, labels=np.array(sorted(labels), np.int64))["label"]
    np.testing.assert_array_equal(found, [float(i in labels) for i in range(7)])


def test_survival_is_a_time_and_whether_it_was_seen():
    found = prepared("survival", 0, time=np.float32(12.5), event=np.int64(1))
    assert found == {"time": 12.5, "event": 1.0}
    assert found["event"].dtype == np.float32


def test_a_score_stays_as_it_is():
    assert prepared("score", 0, score=np.float32(3.25)) == {"score": 3.25}


def test_none_leaves_it_to_the_modality():
    assert prepared("none", 0, points=[1.0]) == {}
