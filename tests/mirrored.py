"""A command of the tests: every tiny model on two logical devices, against one device.

Prints {name: {"outputs": error, "gradients": error}} as JSON. A process of its own, because logical
devices are set before TensorFlow touches them.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tensorflow as tf
import tiny_models

from tf_perceiver.model import structured


def main(names: list[str]) -> None:
    """Compares outputs and summed gradients of a batch cut in two with those of the whole."""
    structured.pays = structured.pays_for_answers = lambda *_: True  # However small they are.
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    errors = {}
    for name in names:
        alone, batch = tiny_models.build(name)
        with strategy.scope():
            model, _ = tiny_models.build(name)

        def replica(batch, model=model):
            with tf.GradientTape() as tape:
                outputs = model(batch)
                value = tf.add_n([tf.reduce_sum(tf.square(x)) for x in tf.nest.flatten(outputs)])
            gradients = tape.gradient(value, model.trainable_variables)
            context = tf.distribute.get_replica_context()
            if context and context.num_replicas_in_sync > 1:
                gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            return outputs, gradients

        expected, slopes = replica(batch, alone)
        halves = strategy.experimental_distribute_values_from_function(
            lambda context, batch=batch: {
                key: tf.constant(value[context.replica_id_in_sync_group :][:1])
                for key, value in batch.items()
            }
        )
        outputs, gradients = tf.function(lambda x: strategy.run(replica, args=(x,)))(halves)
        outputs = tf.nest.map_structure(
            lambda x: tf.concat(strategy.experimental_local_results(x), 0), outputs
        )
        errors[name] = {
            "outputs": _worst(tf.nest.flatten(outputs), tf.nest.flatten(expected)),
            "gradients": _worst(
                [strategy.experimental_local_results(g)[1] for g in gradients], slopes
            ),
        }
    print(json.dumps(errors))


def _worst(ours, theirs) -> float:
    scale = max(float(np.max(np.abs(b))) for b in theirs)
    return max(
        float(np.max(np.abs(a - b))) / scale for a, b in zip(ours, theirs, strict=True)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
