"""How fast a config's model is on this machine: `python -m benchmarks.speed --config=...`.

Times the forward pass and the whole train step (gradients, clipping, optimizer) on one random batch
that stays in memory, so the input pipeline has no part in it. Prints one JSON line.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import orbit
import tensorflow as tf
from absl import flags
from ml_collections import config_flags

from tf_perceiver import tasks
from tf_perceiver.training import loop, optimizer
from tf_perceiver.training import strategy as strategies

CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment and variant.")
CLASSES = flags.DEFINE_integer("classes", 10, "Number of labels.", lower_bound=2)
SECONDS = flags.DEFINE_float("seconds", 10.0, "For each of the two measurements.", lower_bound=0.0)
STRATEGY = flags.DEFINE_string("strategy", "auto", "As for tf_perceiver.train.")
TPU = flags.DEFINE_string("tpu", None, "As for tf_perceiver.train.")

REPETITIONS = 5  # at least, however long they take


def random_batch(data: Mapping[str, Any], classes: int, batch_size: int) -> dict[str, tf.Tensor]:
    """A batch as `pipelines.input_pipeline.train_stream` gives it, of random numbers.

    Args:
      data: `config.data`.
      classes: number of labels.
      batch_size: B.

    Returns:
      {"image": [B, H, W, C] or "points": [B, n, 3], "label": [B, classes]}, all float32.
    """
    if data["modality"] == "image":
        shape = (*data["image"]["size"], data["image"]["channels"])
    else:
        shape = (data["points"]["num_points"], 3)
    inputs = tf.random.stateless_normal((batch_size, *shape), seed=(0, 0))
    labels = tf.random.stateless_uniform((batch_size,), seed=(0, 1), maxval=classes, dtype=tf.int32)
    return {data["modality"]: inputs, "label": tf.one_hot(labels, classes)}


def median_seconds(run: Callable[[], object], seconds: float) -> float:
    """Median time of a call, after one that isn't counted, over at least `REPETITIONS` calls.

    Args:
      run: waits for its result.
      seconds: keeps calling until these have passed.
    """
    run()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < REPETITIONS or time.perf_counter() < until:
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main(argv: list[str]) -> None:
    """Prints the measurements."""
    del argv
    if CONFIG.value is None:
        raise ValueError("--config is missing, e.g. --config=configs/digits.py:small")
    config = CONFIG.value.to_dict()
    batch_size = config["data"]["batch_size"]
    strategy = strategies.build(STRATEGY.value, TPU.value)
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(
            f"config.data.batch_size={batch_size} can't be divided among {replicas} replicas; "
            f"set --config.data.batch_size={batch_size // replicas * replicas or replicas}"
        )
    task = tasks.build(config["task"], CLASSES.value)
    with strategy.scope():
        model = task.build_model(config["model"])
        trainer = loop.Trainer(
            strategy,
            model,
            task,
            optimizer.build(CONFIG.value.optimizer, 1_000_000, batch_size),
            orbit.utils.create_global_step(),
            batch_size=batch_size,
            clip_norm=config["optimizer"]["clip_norm"],
        )
    batch = random_batch(config["data"], CLASSES.value, batch_size // replicas)
    trainer.train_dataset = strategy.distribute_datasets_from_function(
        lambda _: tf.data.Dataset.from_tensors(batch).cache().repeat()
    )

    @tf.function
    def forward() -> tf.Tensor:
        logits = strategy.run(lambda: model(batch, training=False))
        return strategy.reduce("sum", logits, axis=None)

    forward_seconds = median_seconds(lambda: forward().numpy(), SECONDS.value)
    one = tf.constant(1)
    train_seconds = median_seconds(lambda: trainer.train(one), SECONDS.value)
    measured = {
        "config": config["name"],
        "parameters": model.count_params(),
        "batch_size": batch_size,
        "replicas": replicas,
        "forward_seconds": round(forward_seconds, 5),
        "train_step_seconds": round(train_seconds, 5),
        "train_examples_per_second": round(batch_size / train_seconds, 1),
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    command_line.run(main)
