"""The byte array's dense form, and what can't be one."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_perceiver.model.byte_array import ByteArray, Segment

CONTENT = tf.constant(np.arange(12, dtype=np.float32).reshape(2, 3, 2))
POSITIONS = tf.constant(np.arange(6, dtype=np.float32).reshape(3, 2) + 100)


def test_content_positions_and_padding_follow_each_other():
    segment = Segment(CONTENT, POSITIONS, pad=tf.constant([[7.0]]))
    dense = segment.dense().numpy()
    assert segment.channels == 5
    np.testing.assert_array_equal(dense[1, 2], [10, 11, 104, 105, 7])


def test_positions_of_an_example_are_its_own():
    positions = tf.stack([POSITIONS, -POSITIONS])
    np.testing.assert_array_equal(Segment(CONTENT, positions).dense()[1, 0], [6, 7, -100, -101])


def test_added_positions_keep_the_width():
    segment = Segment(CONTENT, POSITIONS, added=True)
    assert segment.channels == 2
    np.testing.assert_array_equal(segment.dense(), CONTENT + POSITIONS)
    with pytest.raises(ValueError, match="positions can be added to content of the same width"):
        Segment(CONTENT, POSITIONS[:, :1], added=True)


def test_segments_follow_each_other_with_one_mask():
    label = Segment(tf.ones([2, 1, 4]), None)
    array = ByteArray((Segment(CONTENT, POSITIONS), label), tf.ones([2, 4], tf.bool))
    assert (array.length, array.channels, array.grid) == (4, 4, None)
    np.testing.assert_array_equal(array.dense()[:, 3], np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"the mask of 4 inputs has shape \(2, 3\)"):
        ByteArray(array.segments, tf.ones([2, 3], tf.bool))
    with pytest.raises(ValueError, match=r"different widths \[3, 4\]"):
        ByteArray((label, Segment(tf.ones([2, 1, 3]), None)))


def test_a_segment_needs_something():
    with pytest.raises(ValueError, match="has no inputs"):
        Segment(None, None)
