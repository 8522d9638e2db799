"""The input stream: one order of stages for every dataset.

Training: this host's shards, in a new order every epoch -> interleave -> bounded shuffle of raw
records -> skip to the start step -> decode and augment, seeded by the record's position ->
(pairs -> mix, seeded by the example's position -> one or two examples) -> batch -> prefetch; with
`config.data.service` on other machines, which give the same stream.
Evaluation: this host's shards in order -> decode -> pad to whole batches -> batch -> prefetch.

The training stream is a pure function of (seed, salt, step): it depends neither on the number of
threads, nor on `tf.random.set_seed`, nor on how a host's examples are cut into replicas and
batches. So a run resumes to the bit by starting its stream at a later step; whole epochs are
skipped by arithmetic and the rest as raw records, before anything is decoded.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines import mixing, preparation, raw_records, service
from pipelines.records import DatasetInfo, Shard, parser


def train_stream(
    info: DatasetInfo,
    directory: str,
    data: Any,
    *,
    seed: int,
    salt: int = 0,
    start_step: int = 0,
    replica_batch: int,
    replicas: int = 1,
    host: int = 0,
    hosts: int = 1,
) -> tf.data.Dataset:
    """The infinite training stream of one host.

    A step consumes `replicas` consecutive batches, so the stream that starts at step k equals, to
    the bit, the one that starts at 0 after k * replicas batches. Epochs follow each other without
    a gap; a batch may straddle two.

    Args:
        info: the dataset's description.
        directory: the folder of its shards, local or gs://.
        data: the `data` section of a config.
        seed: non-negative; decides the order and every augmentation.
        salt: non-negative; another value is another stream of the same seed.
        start_step: first step, >= 0.
        replica_batch: examples in a batch.
        replicas: batches this host consumes in a step.
        host: index of this host.
        hosts: number of hosts; host h reads every hosts-th shard from the h-th on.

    Returns:
        A dataset of what `preparation.Preparation.train` gives, in batches: the model's inputs,
        such as "image" float32 `[b, H, W, C]`, and the target, such as "label" float32
        `[b, classes]`, one-hot or mixed.

    Raises:
        ValueError: a split that is missing or empty, records of another schema, missing shards,
            fewer shards than hosts, or a config value out of range.
    """
    preparing = preparation.of(info, data)
    parse = parser(preparing.features)
    mix_cfg = data.get("mixing")
    group_records, group_examples = mixing.group(mix_cfg)
    first_group, inside_group = divmod(start_step * replicas * replica_batch, group_examples)
    first_record = first_group * group_records
    raw = train_records(
        info, directory, data, seed=seed, salt=salt, start=first_record, host=host, hosts=hosts
    )
    example_key, mix_key = _stream_keys(seed, salt)[2:]

    def prepare(position: tf.Tensor, record: tf.Tensor) -> dict[str, tf.Tensor]:
        example_seed = tf.stack([example_key, position * hosts + host])
        return preparing.train(parse(record), example_seed)

    def mix(group: tf.Tensor, pair: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        # Both records in one function: a call of its own costs a small picture much of its time.
        first, second = (prepare(pair[0][i], pair[1][i]) for i in range(2))
        examples = []
        for i, order in enumerate([(first, second), (second, first)][:group_examples]):
            position = group * group_examples + i
            mix_seed = tf.stack([mix_key, position * hosts + host])
            images, labels = (tf.stack([one[name] for one in order]) for name in ("image", "label"))
            examples.append(mixing.mix(images, labels, mix_cfg, position, mix_seed))
        image, label = (tf.stack(field) for field in zip(*examples, strict=True))
        return {"image": image, "label": label}

    services = service.addresses(data)
    parts = len(services) or 1
    if parts > 1 and replica_batch % group_examples:
        raise ValueError(
            f"config.data.service names {parts} dispatchers, and a replica's batch of "
            f"{replica_batch} examples cuts a pair that is mixed both ways: make it even"
        )

    def batches(part: int) -> tf.data.Dataset:
        """Of the stream's batches those whose number leaves `part` when divided by `parts`."""
        stream = raw.enumerate(first_record)
        if group_records > 1:
            stream = stream.batch(group_records, drop_remainder=True).enumerate(first_group)
        if parts > 1:
            stream = stream.filter(
                lambda group, _: group * group_examples // replica_batch % parts == part
            )
        stream = _map(stream, prepare if group_records == 1 else mix)
        if group_records > 1:
            stream = stream.unbatch().skip(inside_group)
        return _batches(stream, replica_batch)

    if not services:
        return batches(0)
    return _ahead(service.in_turn(batches, services, first=start_step * replicas))


def train_records(
    info: DatasetInfo,
    directory: str,
    data: Any,
    *,
    seed: int,
    salt: int = 0,
    start: int = 0,
    host: int = 0,
    hosts: int = 1,
) -> tf.data.Dataset:
    """The raw records that `train_stream` prepares, without an end.

    Args:
        info, directory, data, seed, salt, host, hosts: as there.
        start: the host's record to begin with, >= 0.

    Returns:
        A dataset of string `[]`, each a serialised `tf.train.Example`.

    Raises:
        ValueError: as there.
    """
    shards = _host_shards(info, directory, data.train_split, host, hosts)
    counts = tuple(shard.records for shard in shards)
    if not sum(counts):
        raise ValueError(
            f"split {data.train_split!r} of {directory}: no record for host {host} of {hosts}; "
            "write the dataset with fewer shards (--shards) or train on fewer hosts"
        )
    if data.shuffle_buffer < 1:
        raise ValueError(
            f"config.data.shuffle_buffer={data.shuffle_buffer} must be at least 1, "
            "which reads the records of an epoch in the order of the shards"
        )
    if min(seed, salt, start) < 0:
        raise ValueError(f"seed={seed}, salt={salt} and start={start} can't be negative")
    shard_key, order_key = _stream_keys(seed, salt)[:2]
    order = raw_records.Order(counts, data.shuffle_buffer, shard_key, order_key)
    paths = [os.path.join(directory, shard.name) for shard in shards]
    return raw_records.stream(paths, order, start)


def eval_stream(
    info: DatasetInfo,
    directory: str,
    data: Any,
    *,
    split: str,
    replica_batch: int,
    replicas: int = 1,
    host: int = 0,
    hosts: int = 1,
    shown: bool = False,
) -> tf.data.Dataset:
    """The finite evaluation stream of one host: each record of its shards once, in a fixed order.

    Args:
        info: the dataset's description.
        directory: the folder of its shards, local or gs://.
        data: the `data` section of a config.
        split: name of the split.
        replica_batch: examples in a batch.
        replicas: batches this host consumes in a step.
        host: index of this host.
        hosts: number of hosts.
        shown: whether "shown" is added where the modality has it: what people look at instead of
            the model's input, such as the samples behind a spectrogram.

    Returns:
        A dataset of `eval_batches(...)` batches, the same number on every host: what
        `preparation.Preparation.evaluation` gives and "weight": float32 `[b]`, 1 for records and 0
        for padding.

    Raises:
        ValueError: as `train_stream`, except that a host may have no records.
    """
    preparing = preparation.of(info, data)
    parse = parser(preparing.features)
    shards = _host_shards(info, directory, split, host, hosts)
    records = sum(shard.records for shard in shards)
    batches = eval_batches(info, split, replica_batch=replica_batch, replicas=replicas, hosts=hosts)

    def prepare(record: tf.Tensor) -> dict[str, tf.Tensor]:
        return preparing.evaluation(parse(record), shown) | {"weight": tf.constant(1.0)}

    stream = tf.data.TFRecordDataset(
        [os.path.join(directory, shard.name) for shard in shards],
        buffer_size=raw_records.READ_BYTES,
    ).apply(tf.data.experimental.assert_cardinality(records))
    prepared = _map(stream, prepare)
    nothing = tf.nest.map_structure(lambda it: tf.zeros(it.shape, it.dtype), prepared.element_spec)
    padding = tf.data.Dataset.from_tensors(nothing).repeat(batches * replica_batch - records)
    return _batches(prepared.concatenate(padding), replica_batch)


def eval_batches(
    info: DatasetInfo, split: str, *, replica_batch: int, replicas: int = 1, hosts: int = 1
) -> int:
    """Number of batches that `eval_stream` yields on every host.

    Args:
        info: the dataset's description.
        split: name of the split.
        replica_batch: examples in a batch.
        replicas: batches a host consumes in a step; the result is a multiple of it.
        hosts: number of hosts.
    """
    most = max(records_per_host(info, split, host, hosts) for host in range(hosts))
    return -(-most // (replica_batch * replicas)) * replicas


def records_per_host(info: DatasetInfo, split: str, host: int = 0, hosts: int = 1) -> int:
    """Number of records that one host reads in an epoch.

    Args:
        info: the dataset's description.
        split: name of the split.
        host: index of the host.
        hosts: number of hosts.

    Raises:
        ValueError: no such split.
    """
    return sum(shard.records for shard in info.split(split).shards[host::hosts])


def _map(stream: tf.data.Dataset, function: Callable[..., dict[str, tf.Tensor]]) -> tf.data.Dataset:
    """Maps in parallel and keeps the order."""
    return stream.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _batches(stream: tf.data.Dataset, replica_batch: int) -> tf.data.Dataset:
    """The last stages, the same in training and evaluation: whole batches, prepared ahead."""
    return _ahead(stream.batch(replica_batch, drop_remainder=True))


def _ahead(stream: tf.data.Dataset) -> tf.data.Dataset:
    stream = stream.prefetch(tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.deterministic = True
    # The hosts' shards are chosen above: tf.distribute must not cut the stream again.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return stream.with_options(options)


def _host_shards(
    info: DatasetInfo, directory: str, split: str, host: int, hosts: int
) -> tuple[Shard, ...]:
    """Every hosts-th shard of the split from the host-th on, each there and of the right size."""
    shards = info.split(split).shards
    if not info.split(split).records:
        raise ValueError(
            f"split {split!r} of {directory} is empty: choose another split or write it again"
        )
    if not 0 <= host < hosts:
        raise ValueError(f"host={host} must lie in [0, hosts={hosts})")
    if len(shards) < hosts:
        raise ValueError(
            f"split {split!r} of {directory} has {len(shards)} shards for {hosts} hosts: write the "
            f"dataset again with --shards={hosts} or more, or use {len(shards)} hosts or fewer"
        )
    shards = shards[host::hosts]
    paths = [os.path.join(directory, shard.name) for shard in shards]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:  # one round trip each on gs://
        sizes = pool.map(_size, paths)
    for path, shard, size in zip(paths, shards, sizes, strict=True):
        if size != shard.bytes:
            found = "is missing" if size is None else f"has {size} bytes instead of {shard.bytes}"
            raise ValueError(
                f"{path} {found}: copy it again or write the dataset again; "
                "python -m beam_preprocess.verify finds every such file"
            )
    return shards


def _size(path: str) -> int | None:
    """Bytes of a file, None where there is none."""
    try:
        return tf.io.gfile.stat(path).length
    except tf.errors.NotFoundError:
        return None


def _stream_keys(seed: int, salt: int) -> list[int]:
    """Independent 64-bit keys of a stream, the same on every machine and NumPy version.

    They are for the shards' order, the records' order, the preparation and the mixing.
    """
    state = np.random.SeedSequence([seed, salt]).generate_state(4, np.uint64)
    return state.view(np.int64).tolist()
