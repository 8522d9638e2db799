"""Raw records in training's order: what is skipped isn't read, and changes nothing."""

from __future__ import annotations

import os
import pathlib
import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import raw_records

HEADER, FOOTER = 12, 4  # Of a TFRecord: length and its checksum before, the data's after.


def _order(counts, buffer=3, key=5):
    return raw_records.Order(tuple(counts), buffer, shard_key=key, order_key=key + 1)


def _write(directory, counts) -> list[str]:
    """A file for each count, whose records are b"shard/number"."""
    paths = []
    for shard, count in enumerate(counts):
        paths.append(os.path.join(directory, f"{shard}.tfrecord"))
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for number in range(count):
                writer.write(b"%d/%d" % (shard, number))
    return paths


def _taken(stream: tf.data.Dataset, count: int) -> list[bytes]:
    return list(stream.take(count).as_numpy_iterator())


def _damage(path: str, numbers: set[int]) -> None:
    """Changes the data of these records, but not their lengths."""
    content = bytearray(pathlib.Path(path).read_bytes())
    place = number = 0
    while place < len(content):
        (length,) = struct.unpack("<Q", content[place : place + 8])
        if number in numbers:
            content[place + HEADER] ^= 255
        place, number = place + HEADER + length + FOOTER, number + 1
    pathlib.Path(path).write_bytes(content)


def test_what_leads_every_shard_and_is_skipped_is_not_read(tmp_path):
    counts = [40, 30, 50]
    order, paths = _order(counts, buffer=4), _write(tmp_path, counts)
    whole = _taken(raw_records.stream(paths, order, 0), 300)
    leading = order.leading(1, 90)  # The second epoch's.
    assert all(15 < passed < count for passed, count in zip(leading, counts, strict=True))
    for path, passed in zip(paths, leading, strict=True):
        _damage(path, set(range(passed)))

    assert _taken(raw_records.stream(paths, order, 120 + 90), 30) == whole[210:240]

    with pytest.raises(tf.errors.DataLossError):
        _taken(raw_records.stream(paths, order, 0), 120)
    _damage(paths[0], {leading[0]})
    with pytest.raises(tf.errors.DataLossError):
        _taken(raw_records.stream(paths, order, 120 + 90), 30)


@pytest.mark.parametrize("prefix", ["", "file://"])  # With and without a buffer.
def test_a_start_anywhere_gives_the_rest(tmp_path, prefix):
    counts = [9, 0, 14]
    order = _order(counts, buffer=5)
    paths = [prefix + path for path in _write(tmp_path, counts)]
    whole = _taken(raw_records.stream(paths, order, 0), 70)
    assert sorted(whole[:23]) == sorted(whole[23:46])
    for start in (1, 11, 22, 23, 24, 45):
        assert _taken(raw_records.stream(paths, order, start), 25) == whole[start : start + 25]


@settings(max_examples=15, deadline=None)
@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=20).filter(sum),
    buffer=st.sampled_from([1, 2, 7, 1000]),
    epoch=st.integers(0, 10**6),
    share=st.floats(0, 1),
)
def test_leading_records_are_all_among_the_first_and_no_fewer_than_can_be(
    counts, buffer, epoch, share
):
    order = _order(counts, buffer, key=epoch)
    count = round(share * order.records)

    def addresses(shard: tf.Tensor) -> tf.data.Dataset:
        numbers = tf.data.Dataset.range(tf.gather(tf.constant(counts, tf.int64), shard))
        return numbers.map(lambda number: (shard, number))

    stream = order.epoch(epoch, addresses).as_numpy_iterator()
    all_of_them = [(int(shard), int(number)) for shard, number in stream]
    assert sorted(all_of_them) == [(s, n) for s, c in enumerate(counts) for n in range(c)]
    expected = []
    for shard, size in enumerate(counts):
        later = [number for s, number in all_of_them[count:] if s == shard]
        expected.append(min(later, default=size))
    np.testing.assert_array_equal(order.leading(epoch, count), expected)


def test_a_shard_of_another_length_is_an_error_also_after_a_skip(tmp_path):
    counts = [40, 30]
    paths = _write(tmp_path, counts)
    order = _order([40, 31], buffer=4)
    with pytest.raises(tf.errors.FailedPreconditionError, match="contained only 70"):
        _taken(raw_records.stream(paths, order, 60), 11)
