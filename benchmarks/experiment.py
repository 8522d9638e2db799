"""The model of an experiment's config under a distribution strategy, on a batch of its own size."""

from __future__ import annotations

import orbit
import tensorflow as tf
from ml_collections import ConfigDict

from benchmarks import batches, timing
from pipelines.records import DatasetInfo
from tf_perceiver import tasks
from tf_perceiver.training import loop, optimizer
from tf_perceiver.training import strategy as strategies

TOTAL_STEPS = 1_000_000  # of the schedule; the learning rate has no part in the time


def trainer(
    config: ConfigDict,
    info: DatasetInfo,
    distribution: tf.distribute.Strategy | None = None,
) -> loop.Trainer:
    """A trainer of an experiment's model, still without a dataset.

    Args:
      config: of the experiment. info: of its records, for the task.
      distribution: unless told, the one that is in force.
    """
    distribution = distribution or tf.distribute.get_strategy()
    task = tasks.build(config.task, info)
    with distribution.scope():
        return loop.Trainer(
            distribution,
            task.build_model(config.model.to_dict()),
            task,
            optimizer.build(config.optimizer, TOTAL_STEPS, config.data.batch_size),
            orbit.utils.create_global_step(),
            batch_size=config.data.batch_size,
            clip_norm=config.optimizer.clip_norm,
        )


def measure(
    config: ConfigDict,
    classes: int,
    rounds: int,
    seconds: float,
    strategy: str = "auto",
    tpu: str | None = None,
) -> dict[str, str | int | float]:
    """Times the forward pass and the whole train step, and tells examples per second.

    Args:
      config: of an experiment. classes: number of labels, where the task
        doesn't say it itself.
      rounds, seconds: see `timing.interleaved`.
      strategy, tpu: as for `tf_perceiver.train`.

    Raises:
      ValueError: the batch can't be divided among the replicas.
    """
    batch_size = config.data.batch_size
    distribution = strategies.build(strategy, tpu)
    replicas = distribution.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(
            f"config.data.batch_size={batch_size} can't be divided among {replicas} replicas; "
            f"set --config.data.batch_size={batch_size // replicas * replicas or replicas}"
        )
    info = batches.described(classes, config.task.name)
    made = trainer(config, info, distribution)
    model = made.model
    batch = batches.of_data(config.data, len(info.labels), batch_size // replicas)
    made.train_dataset = distribution.distribute_datasets_from_function(
        lambda _: tf.data.Dataset.from_tensors(batch).cache().repeat()
    )

    @tf.function(autograph=False)
    def forward() -> tf.Tensor:
        def total() -> tf.Tensor:  # Of all outputs, so that none is left out.
            outputs = tf.nest.flatten(model(batch, training=False))
            return tf.add_n([tf.reduce_sum(tf.cast(output, tf.float32)) for output in outputs])

        return distribution.reduce("sum", distribution.run(total), axis=None)

    one = tf.constant(1)
    calls = {"forward": lambda: forward().numpy(), "train_step": lambda: made.train(one)}
    times = timing.interleaved(calls, rounds, seconds)
    step = timing.median(times["train_step"])
    return {
        "config": config.name,
        "parameters": model.count_params(),
        "batch_size": batch_size,
        "replicas": replicas,
        "forward_seconds": round(timing.median(times["forward"]), 5),
        "train_step_seconds": round(step, 5),
        "train_examples_per_second": round(batch_size / step, 1),
    }
