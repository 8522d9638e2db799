"""The model of an experiment's config under a distribution strategy, on a batch of its own size."""

from __future__ import annotations

import orbit
import tensorflow as tf
from ml_collections import ConfigDict

from benchmarks import batches, timing
from tf_perceiver import tasks
from tf_perceiver.training import loop, optimizer
from tf_perceiver.training import strategy as strategies

TOTAL_STEPS = 1_000_000  # of the schedule; the learning rate has no part in the time


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
      config: of an experiment. classes: number of labels.
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
    task = tasks.build(config.task, batches.described(classes))
    with distribution.scope():
        model = task.build_model(config.model.to_dict())
        trainer = loop.Trainer(
            distribution,
            model,
            task,
            optimizer.build(config.optimizer, TOTAL_STEPS, batch_size),
            orbit.utils.create_global_step(),
            batch_size=batch_size,
            clip_norm=config.optimizer.clip_norm,
        )
    batch = batches.of_data(config.data.to_dict(), classes, batch_size // replicas)
    trainer.train_dataset = distribution.distribute_datasets_from_function(
        lambda _: tf.data.Dataset.from_tensors(batch).cache().repeat()
    )

    @tf.function
    def forward() -> tf.Tensor:
        logits = distribution.run(lambda: model(batch, training=False))
        return distribution.reduce("sum", logits, axis=None)

    one = tf.constant(1)
    calls = {"forward": lambda: forward().numpy(), "train_step": lambda: trainer.train(one)}
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
