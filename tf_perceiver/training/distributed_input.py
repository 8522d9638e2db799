"""Gives every host and replica its part of the stream, with explicit sharding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from ml_collections import ConfigDict

from pipelines import input_pipeline
from pipelines.records import DatasetInfo
from tf_perceiver.training import strategy as strategies


def _per_replica(batch_size: int, replicas: int, field: str) -> int:
    if batch_size < 1 or batch_size % replicas:
        raise ValueError(
            f"config.data.{field}={batch_size} can't be divided among {replicas} replicas; "
            f"choose a multiple of {replicas}"
        )
    return batch_size // replicas


def train_dataset(
    strategy: tf.distribute.Strategy,
    info: DatasetInfo,
    directory: str | Path,
    data: ConfigDict,
    *,
    seed: int,
    start_step: int,
    salt: int = 0,
    accumulate: int = 1,
) -> tf.distribute.DistributedDataset:
    """The infinite training stream from `start_step` on; see `input_pipeline.train_stream`.

    Raises:
      ValueError: the replicas, each with `accumulate` micro-batches, don't divide the batch.
    """
    replicas = strategy.num_replicas_in_sync
    replica_batch = _per_replica(data.batch_size, replicas, "batch_size")
    if accumulate < 1 or replica_batch % accumulate:
        raise ValueError(
            f"config.train.accumulate={accumulate} doesn't divide the {replica_batch} examples "
            "that a replica has of a batch"
        )

    def host_dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        stream = input_pipeline.train_stream(
            info,
            directory,
            data,
            seed=seed,
            salt=salt,
            start_step=start_step,
            replica_batch=replica_batch,
            replicas=replicas // context.num_input_pipelines,
            host=context.input_pipeline_id,
            hosts=context.num_input_pipelines,
        )
        # Where a stream may end, several workers get batches whose size isn't static.
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        return stream.apply(endless)

    return strategy.distribute_datasets_from_function(host_dataset)


def eval_dataset(
    strategy: tf.distribute.Strategy,
    info: DatasetInfo,
    directory: str | Path,
    data: ConfigDict,
    split: str,
) -> tuple[Callable[[], tf.distribute.DistributedDataset], int]:
    """A maker of the evaluation's dataset, and its number of global batches.

    Raises:
      ValueError: the replicas don't divide the batch, or the split is missing.
    """
    replicas = strategy.num_replicas_in_sync
    replica_batch = _per_replica(data.eval_batch_size, replicas, "eval_batch_size")
    hosts = _hosts(strategy)
    local = replicas // hosts

    def host_dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        return input_pipeline.eval_stream(
            info,
            directory,
            data,
            split=split,
            replica_batch=replica_batch,
            replicas=local,
            host=context.input_pipeline_id,
            hosts=context.num_input_pipelines,
        )

    batches = input_pipeline.eval_batches(
        info, split, replica_batch=replica_batch, replicas=local, hosts=hosts
    )
    return lambda: strategy.distribute_datasets_from_function(host_dataset), batches // local


def _hosts(strategy: tf.distribute.Strategy) -> int:
    """Number of input pipelines: one a worker."""
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return strategy.extended.num_hosts
    return strategies.workers(strategy)
