"""The raw records of a host's shards in training's order, from any of them on.

An epoch is: the shards in an order of its own -> interleave -> bounded shuffle. What is in the
records has no part in their order, so a record that is going to be skipped needn't be read.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

# Shards read in turn, one record from each. A constant: the order of the stream depends on it.
_INTERLEAVE = 16
READ_BYTES = 2**20
_REHEARSED = 2**16  # Numbers of records that are looked at together.


@dataclasses.dataclass(frozen=True)
class Order:
    """In which order the records of every epoch come.

    Attributes:
        counts: records of each shard, at least one in all.
        buffer: records among which the next is drawn, >= 1.
        shard_key, order_key: any 64 bits; decide the order of the shards, and of their records.
    """

    counts: tuple[int, ...]
    buffer: int
    shard_key: int
    order_key: int

    @property
    def records(self) -> int:
        """Number of records in an epoch."""
        return sum(self.counts)

    def epoch(
        self,
        epoch: int | tf.Tensor,
        read: Callable[[tf.Tensor], tf.data.Dataset],
        threads: int | None = tf.data.AUTOTUNE,
    ) -> tf.data.Dataset:
        """What `read` gives for the shards, in the order of an epoch.

        Args:
            epoch: from 0 on.
            read: from the index of a shard, int64 `[]`, to a dataset of as many elements as it has
                records, in their order: the records, or whatever stands for them.
            threads: that read; None reads in the consumer's own. The order is the same.
        """
        # In a function, for tf.data mixes the global seed into shuffle's own: pinned is that of
        # the function's graph.
        only = tf.data.Dataset.range(epoch, epoch + 1)
        return only.flat_map(functools.partial(self._epoch, read=read, threads=threads))

    def epochs(self, first: int, read: Callable[[tf.Tensor], tf.data.Dataset]) -> tf.data.Dataset:
        """One epoch after the other without an end, see `epoch`."""
        every = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
        return every.flat_map(functools.partial(self._epoch, read=read))

    def _epoch(
        self,
        epoch: tf.Tensor,
        read: Callable[[tf.Tensor], tf.data.Dataset],
        threads: int | None = tf.data.AUTOTUNE,
    ) -> tf.data.Dataset:
        tf.compat.v1.set_random_seed(1)
        shards = tf.range(len(self.counts), dtype=tf.int64)
        shards = tf.random.experimental.stateless_shuffle(shards, tf.stack([self.shard_key, epoch]))
        order = tf.random.stateless_uniform(
            [], tf.stack([self.order_key, epoch]), minval=None, maxval=None, dtype=tf.int64
        )
        stream = tf.data.Dataset.from_tensor_slices(shards).interleave(
            read,
            cycle_length=min(_INTERLEAVE, len(self.counts)),
            num_parallel_calls=threads,
            deterministic=None if threads is None else True,
        )
        stream = stream.apply(tf.data.experimental.assert_cardinality(self.records))
        buffer = min(self.buffer, self.records)
        return stream.shuffle(buffer, seed=order, reshuffle_each_iteration=False)

    def leading(self, epoch: int, count: int) -> np.ndarray:
        """How much of each shard is certainly not needed after the first records of an epoch.

        The epoch is rehearsed with the numbers of the records in their place, some seconds for a
        million.

        Args:
            epoch: from 0 on.
            count: of the records that come first.

        Returns:
            int64 `[shards]`: so many records from the beginning of each shard on are all among
            these `count`.
        """
        ends = np.cumsum(self.counts, dtype=np.int64)
        starts = ends - self.counts

        def numbers(shard: tf.Tensor) -> tf.data.Dataset:
            return tf.data.Dataset.range(tf.gather(starts, shard), tf.gather(ends, shard))

        seen = np.zeros(self.records, bool)
        first = self.epoch(epoch, numbers, threads=None).take(count)
        for part in first.batch(_REHEARSED).as_numpy_iterator():
            seen[part] = True
        shards = np.split(seen, ends[:-1])
        return np.array([len(it) if it.all() else np.argmin(it) for it in shards], np.int64)


def stream(paths: list[str], order: Order, start: int) -> tf.data.Dataset:
    """All records of all epochs, without an end.

    Whole epochs are skipped by arithmetic. In the one that the start lies in, the records at the
    beginning of each shard that nobody is going to see are passed over in the file, from length to
    length, and an empty one goes through the shuffle for each, so that the order stays what it is.

    Args:
        paths: of the shards that `order` counts.
        order: of the records.
        start: the record to begin with, counted from the first one of epoch 0.

    Returns:
        A dataset of string `[]`.

    Raises:
        tf.errors.OpError: while it is iterated, where a shard is damaged or of another length.
    """
    first_epoch, skipped = divmod(start, order.records)
    files = tf.constant(paths)

    def read(shard: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(tf.gather(files, shard), buffer_size=READ_BYTES)

    if not skipped:
        return order.epochs(first_epoch, read)
    leading = tf.constant(order.leading(first_epoch, skipped))
    # A buffer would be filled with all that is passed over. Elsewhere than on a disk it is worth
    # its while: a request for every record would take longer.
    remote = any("://" in path for path in paths)

    def read_rest(shard: tf.Tensor) -> tf.data.Dataset:
        passed = tf.gather(leading, shard)
        rest = tf.data.TFRecordDataset(
            tf.gather(files, shard), buffer_size=READ_BYTES if remote else 0
        ).skip(passed)
        return tf.data.Dataset.from_tensors("").repeat(passed).concatenate(rest)

    resumed = order.epoch(first_epoch, read_rest).skip(skipped)
    return resumed.concatenate(order.epochs(first_epoch + 1, read))
