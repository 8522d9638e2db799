"""The memory that a subject takes, in the process that asks: see `children.run` for another."""

from __future__ import annotations

import tensorflow as tf

from benchmarks import peak, subjects


def peak_of(subject: subjects.Maker, measure: str, precision: str = "float32") -> dict[str, int]:
    """Makes a subject and runs it, in this process; see `children.run`.

    Args:
      subject: makes it. measure: which of its calls. precision: Keras policy.

    Returns:
      Bytes: "baseline_bytes" before, "peak_bytes" above that, "batch_bytes" of the inputs,
      "parameter_bytes" of the variables that are trained.
    """
    tf.get_logger().setLevel("ERROR")
    tf.keras.mixed_precision.set_global_policy(precision)
    tf.matmul(tf.ones([8, 8]), tf.ones([8, 8]))  # The runtime's own memory is no model's.
    baseline = peak.baseline()
    with peak.watching() as watched:
        made = subject()
        for _ in range(peak.RUNS):
            made.calls[measure]()
    return {
        "baseline_bytes": baseline,
        "peak_bytes": watched.bytes - baseline,
        "batch_bytes": sum(x.dtype.size * x.shape.num_elements() for x in made.batch.values()),
        "parameter_bytes": 4 * made.parameters,
    }
