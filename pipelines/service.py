"""Training's examples prepared on other machines, by tf.data service: the same stream all the same.

tf.data service itself promises no order, and with several workers either every example once from
each of them or an order that depends on who is quickest. So the sharding here is explicit: every
dispatcher has one worker, the n-th of N prepares batches n, n + N, n + 2N, ... of the stream, and
they are taken in turn. What arrives is counted, so that a second worker, or one that was started
anew and begins from the beginning, is an error and never another stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

_ADDRESS = re.compile(r"grpc://[^\s,/]+:\d+")


def addresses(data: Any) -> tuple[str, ...]:
    """The dispatchers of `config.data.service`, separated by commas; none where it is empty.

    Args:
        data: the `data` section of a config.

    Raises:
        ValueError: something else than grpc://HOST:PORT, or one that is named twice.
    """
    field = data.get("service", "")
    found = tuple(part.strip() for part in field.split(",")) if field else ()
    for address in found:
        if not _ADDRESS.fullmatch(address):
            raise ValueError(
                f"config.data.service={field!r}: {address!r} isn't grpc://HOST:PORT; name "
                "dispatchers of tf.data service, separated by commas, or leave it empty"
            )
    if len(set(found)) < len(found):
        raise ValueError(f"config.data.service={field!r} names a dispatcher twice")
    return found


def in_turn(
    part: Callable[[int], tf.data.Dataset], services: tuple[str, ...], first: int
) -> tf.data.Dataset:
    """The batches of all parts in their order.

    Args:
        part: from the index of a dispatcher to the batches that it prepares: of those from `first`
            on, the ones whose number leaves that index when divided by the number of dispatchers.
        services: addresses of the dispatchers.
        first: number of the batch to begin with.

    Returns:
        A dataset of the batches `first`, `first` + 1, ...

    Raises:
        tf.errors.InvalidArgumentError: while it is iterated, where a batch comes that isn't due.
    """
    count = len(services)

    def prepared(index: int) -> tf.data.Dataset:
        # The number goes with the batch, so that it can be seen whether the next one came.
        start = first + (index - first) % count
        numbers = tf.data.Dataset.range(start, np.iinfo(np.int64).max, count)
        distribute = tf.data.experimental.service.distribute(
            processing_mode=tf.data.experimental.service.ShardingPolicy.OFF,
            service=services[index],
        )
        return tf.data.Dataset.zip((numbers, part(index))).apply(distribute)

    def checked(due: tf.Tensor, batch: tuple[tf.Tensor, Any]) -> Any:
        number, content = batch
        message = (
            "config.data.service: another batch came than the one that was due; a dispatcher must "
            "have one worker, and one that was started anew needs the training started anew"
        )
        with tf.control_dependencies([tf.debugging.assert_equal(number, due, message)]):
            return tf.nest.map_structure(tf.identity, content)

    due = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
    turns = due.map(lambda number: number % count)
    merged = tf.data.Dataset.choose_from_datasets([prepared(i) for i in range(count)], turns)
    return tf.data.Dataset.zip((due, merged)).map(checked)
