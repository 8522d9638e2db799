"""Examples prepared by a real dispatcher and worker are those of the stream without them."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from configs import feeds
from pipelines import input_pipeline, records, service

FEATURES = {"image": records.Feature("bytes"), "label": records.Feature("int64")}
SIDE = 6


@contextlib.contextmanager
def running(*workers: int):
    """Dispatchers with so many workers each, in this process; yields their addresses."""
    servers = []
    addresses = []
    for count in workers:
        dispatcher = tf.data.experimental.service.DispatchServer()
        addresses.append(dispatcher.target)
        at = dispatcher.target.partition("://")[2]
        config = tf.data.experimental.service.WorkerConfig(dispatcher_address=at)
        # Workers first, as they are dropped from the end.
        servers += [dispatcher]
        servers += [tf.data.experimental.service.WorkerServer(config) for _ in range(count)]
    try:
        yield addresses
    finally:
        for server in reversed(servers):
            server._stop()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """47 pictures in 3 shards."""
    directory = tmp_path_factory.mktemp("pictures")
    draw, shards = np.random.default_rng(0), []
    for index, count in enumerate((20, 11, 16)):
        name = records.shard_name("pictures", "train", index, 3)
        with tf.io.TFRecordWriter(str(directory / name)) as writer:
            for number in range(count):
                pixels = draw.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
                fields = {"image": tf.io.encode_png(pixels).numpy(), "label": number % 2}
                writer.write(records.encode(fields, FEATURES))
        shards.append(records.Shard(name, count, (directory / name).stat().st_size, ""))
    splits = {"train": records.Split("train", tuple(shards))}
    return records.DatasetInfo("pictures", FEATURES, ("a", "b"), splits), str(directory)


def data(addresses=(), mixed=False):
    config = feeds.images((SIDE, SIDE), 4, train_crop="pad", pad=1, randaugment_layers=0)
    config.shuffle_buffer = 8
    config.service = ",".join(addresses)
    if mixed:
        config.mixing.update(mixup_alpha=0.2, cutmix=True, both_ways=True)
    return config


def taken(pictures, data, batches, **arguments):
    arguments = {"seed": 3, "replica_batch": 4, **arguments}
    stream = input_pipeline.train_stream(*pictures, data, **arguments)
    return list(stream.take(batches).as_numpy_iterator())


def assert_same(ours, expected):
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(("dispatchers", "mixed"), [(1, False), (3, False), (2, True)])
def test_the_stream_is_the_same_to_the_bit(pictures, dispatchers, mixed):
    # 30 batches of 4: more than two epochs.
    expected = taken(pictures, data(mixed=mixed), 30)
    with running(*[1] * dispatchers) as addresses:
        assert_same(taken(pictures, data(addresses, mixed), 30), expected)
        resumed = taken(pictures, data(addresses, mixed), 5, start_step=7, replicas=2)
    assert_same(resumed, expected[14:19])


def test_a_dispatcher_with_two_workers_is_an_error_and_no_other_stream(pictures):
    expected, seen = taken(pictures, data(), 400), []
    with running(2) as addresses:
        stream = input_pipeline.train_stream(*pictures, data(addresses), seed=3, replica_batch=4)
        with pytest.raises(tf.errors.InvalidArgumentError, match="must have one worker"):
            seen.extend(stream.take(400).as_numpy_iterator())
    assert_same(seen, expected[: len(seen)])


def test_a_pair_that_is_mixed_both_ways_stays_on_one_machine(pictures):
    cfg = data(["grpc://a:1", "grpc://b:2"], mixed=True)
    with pytest.raises(ValueError, match="a replica's batch of 3 examples cuts a pair"):
        taken(pictures, cfg, 1, replica_batch=3)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("localhost:5000", "'localhost:5000' isn't grpc://HOST:PORT"),
        ("grpc://a:1, grpc://b", "'grpc://b' isn't grpc://HOST:PORT"),
        ("grpc://a:1,grpc://a:1", "names a dispatcher twice"),
    ],
)
def test_what_is_no_address_is_named(pictures, field, message):
    cfg = data()
    cfg.service = field
    with pytest.raises(ValueError, match=f"config.data.service=.*{message}"):
        taken(pictures, cfg, 1)


def test_without_the_field_there_is_no_service():
    assert service.addresses(ConfigDict({})) == ()
    assert service.addresses(data()) == ()
    assert service.addresses(data(["grpc://a:1", "grpc://b:2"])) == ("grpc://a:1", "grpc://b:2")
