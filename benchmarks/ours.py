"""A worker that runs a preset of ours: `python -m benchmarks.ours '{"preset": "imagenet"}'`."""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import json
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from benchmarks import subjects, worker

POLICIES = {"float32": "float32", "mixed": "mixed_bfloat16", "bfloat16": "mixed_bfloat16"}


def main(argv: list[str]) -> None:
    """Serves "forward", "forward_backward" and "train_step" of the preset in argv's JSON.

    Its fields: preset; precision, of `POLICIES`; threads; batch_size; attention; small.
    """
    asked = json.loads(argv[1])
    threads = asked.get("threads", 2)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.get_logger().setLevel("ERROR")
    tf.keras.mixed_precision.set_global_policy(POLICIES[asked["precision"]])
    tf.matmul(tf.ones([8, 8]), tf.ones([8, 8]))  # The runtime's own memory is no model's.

    def build() -> tuple[worker.Calls, Mapping[str, Any]]:
        subject = subjects.of_preset(
            asked["preset"],
            asked.get("attention", "structured"),
            asked.get("batch_size", 1),
            small=asked.get("small", False),
        )
        facts = {
            "parameters": subject.parameters,
            "flops": subject.flops,
            "version": f"tensorflow {tf.__version__}",
        }
        return subject.calls, facts

    worker.serve(build)


if __name__ == "__main__":
    command_line.run(main, positional=True)
