"""One pass over the evaluation split: the task's metrics, and some examples to be shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from tf_perceiver.report.run import Run

Batch = Mapping[str, Any]
Example = TypeVar("Example")


def evaluated(
    run: Run,
    batches: Iterable[Batch],
    inputs: Sequence[str],
    shown: Callable[[Run, Batch, Any, int], Example],
    most: int,
) -> tuple[dict[str, float], int, list[Example]]:
    """Runs the model once over the batches.

    Args:
      run: whose model it is.
      batches: of the evaluation split, with "weight", 0 for padding.
      inputs: names of what the model gets of a batch.
      shown: what becomes of example `i` of a batch and of its outputs.
      most: examples to be shown, evenly spread over the split.

    Returns:
      The metrics, the number of examples, and those that are shown.

    Raises:
      ValueError: the batches hold no example.
    """
    import tensorflow as tf

    expected = run.info.split(run.split).records
    wanted = set(np.linspace(0, expected - 1, min(most, expected)).round().astype(int).tolist())
    predict = tf.function(lambda fields: run.model(fields, training=False), autograph=False)
    metrics = run.task.metrics()
    count, examples = 0, []
    for batch in batches:
        outputs = predict({name: batch[name] for name in inputs})
        losses = run.task.loss(outputs, batch, False)
        run.task.update_metrics(metrics, outputs, batch, losses)
        for i in np.flatnonzero(np.asarray(batch["weight"]) > 0):
            if count in wanted:
                examples.append(shown(run, batch, outputs, int(i)))
            count += 1
    if not count:
        raise ValueError("no example to report on: the evaluation split is empty")
    return {name: float(metric.result()) for name, metric in metrics.items()}, count, examples
