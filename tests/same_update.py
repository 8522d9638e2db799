"""A command of the tests: one batch whole, on two devices, accumulated, and both.

Prints {"float64": {case: error}, "float32": {case: error}} as JSON: the largest error of a tensor's
update after two steps. A process of its own, because logical devices and Keras' float are set
before anything is built.
"""

from __future__ import annotations

import json

import numpy as np
import orbit
import tensorflow as tf

from configs import base
from pipelines.records import DatasetInfo
from tf_perceiver.model import perceiver
from tf_perceiver.tasks import Classification
from tf_perceiver.training import loop, optimizer
from tf_perceiver.training.averages import Averages

CLASSES, BATCH, STEPS = 3, 8, 2
MODEL = {
    "inputs": {
        "kind": "pixels",
        "channels": 1,
        "positions": {"bands": 2, "max_resolution": (4, 4)},
    },
    "trunk": {
        "num_latents": 4,
        "latent_channels": 8,
        "cross_attends": 1,
        "self_attends_per_block": 1,
        "self_heads": 2,
    },
}
BOTH = "two devices, two accumulated"
CASES = {"two devices": (2, 1), "two accumulated": (1, 2), BOTH: (2, 2)}
# All in float64; float32 rounds more, and no case otherwise than another.
COMPARED = {"float64": CASES, "float32": {BOTH: CASES[BOTH]}}


def update(dtype: str, replicas: int, accumulate: int) -> dict[str, np.ndarray]:
    """What two steps of LAMB add to every weight and to its average."""
    devices = [f"CPU:{i}" for i in range(replicas)]
    strategy = tf.distribute.MirroredStrategy(devices)
    rng = np.random.default_rng(0)
    examples = {
        "image": rng.normal(size=(STEPS * BATCH, 4, 4, 1)).astype(dtype),
        "label": np.eye(CLASSES, dtype=dtype)[rng.integers(0, CLASSES, STEPS * BATCH)],
    }
    settings = base.classification("toy", MODEL).optimizer
    settings.schedule = "constant"
    with strategy.scope():
        model = perceiver.build(MODEL, CLASSES)
        for variable in model.trainable_variables:
            variable.assign(rng.normal(size=variable.shape) * 0.3)
        averages = Averages(model.named_weights(), 0.9)
        trainer = loop.Trainer(
            strategy,
            model,
            Classification(DatasetInfo("toy", {}, tuple("abc"), {})),
            optimizer.build(settings, 10, BATCH),
            orbit.utils.create_global_step(),
            batch_size=BATCH,
            clip_norm=1.0,
            accumulate=accumulate,
            averages=averages,
        )
    stream = tf.data.Dataset.from_tensor_slices(examples)
    stream = stream.batch(BATCH // replicas, drop_remainder=True)
    trainer.train_dataset = strategy.distribute_datasets_from_function(lambda _: stream)
    state = model.named_weights() | {f"ema.{n}": v for n, v in averages.variables.items()}
    before = {name: variable.numpy() for name, variable in state.items()}
    trainer.train(tf.constant(STEPS))
    return {name: variable.numpy() - before[name] for name, variable in state.items()}


def main() -> None:
    """Compares every case with one device and the whole batch."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    errors: dict[str, dict[str, float]] = {}
    for dtype, cases in COMPARED.items():
        tf.keras.backend.set_floatx(dtype)
        expected = update(dtype, 1, 1)
        errors[dtype] = {}
        for case, (replicas, accumulate) in cases.items():
            found = update(dtype, replicas, accumulate)
            errors[dtype][case] = max(
                float(np.max(np.abs(found[name] - value)) / np.max(np.abs(value)))
                for name, value in expected.items()
                # The key bias has no gradient but rounding's, and LAMB makes any as long as any.
                if not name.endswith(".k.bias")
            )
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
