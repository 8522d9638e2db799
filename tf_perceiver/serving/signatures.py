"""What a served model is asked and what it answers; the check that it needs nothing but TensorFlow.

The signature decodes and normalises with the same functions as evaluation, those of `pipelines`, so
that the two can't drift apart.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from pipelines.input_pipeline import MODALITIES

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo

# By modality the one input of `serving_default`, as a client sends it. A name that ends in `_bytes`
# makes TensorFlow Serving's REST interface accept {"b64": ...}.
INPUTS = {
    "audio": tf.TensorSpec([None, None], tf.float32, name="waveform"),
    "image": tf.TensorSpec([None], tf.string, name="image_bytes"),
    "points": tf.TensorSpec([None, None, 3], tf.float32, name="points"),
}

# Registered in TensorFlow itself, yet they call back into the Python process that built the graph.
_PYTHON_OPERATIONS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})


class ServedModel(tf.Module):
    """What `tf.saved_model.save` gets: the variables, the label file and the function, no Keras.

    Without Keras's own metadata the SavedModel is smaller and asks no reader for our classes.

    Attributes:
      weights: the model's variables.
      labels_file: one label a line, in the order of `probabilities`; saved as `assets/labels.txt`.
      properties_file: what every raw example must have, as JSON, such as {"sample_rate": 16000};
        saved as `assets/properties.json`.
      serving_default: the function of the signature.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        config: Any,
        info: DatasetInfo,
        labels_file: Path,
        properties_file: Path,
    ) -> None:
        super().__init__(name="served_model")
        self.weights = list(model.variables)
        self.labels_file = tf.saved_model.Asset(str(labels_file))
        self.properties_file = tf.saved_model.Asset(str(properties_file))
        self.serving_default = serving_function(model, config, info)


def serving_function(
    model: tf.keras.Model, config: Any, info: DatasetInfo
) -> tf.types.experimental.GenericFunction:
    """Raw examples in, probabilities and labels out.

    The function takes `image_bytes`, string [B], for images, `points`, float32 [B, n, 3], for
    points, and `waveform`, float32 [B, n] in [-1, 1] at the records' sample rate, for sound: any B,
    0 included, and any n >= 1. It returns `probabilities`, float32 [B, classes], `label`, string
    [B], the name of the most probable class, and `score`, float32 [B], its probability.

    Args:
      model: called as `model({modality: batch}, training=False)` -> logits [B, classes].
      config: the run's config (a ConfigDict); `config.data` says what is served.
      info: the dataset's description, for its label names.

    Raises:
      ValueError: if the modality can't be served.
    """
    modality = config.data.modality
    if modality not in INPUTS:
        raise ValueError(
            f"config.data.modality={modality!r} can't be served; choose {' or '.join(INPUTS)}"
        )
    pipeline, section = MODALITIES[modality], config.data[modality]
    prepared = tf.TensorSpec(pipeline.shape(section), tf.float32)
    names = tf.constant(info.labels, tf.string)

    @tf.function(input_signature=[INPUTS[modality]])
    def serving_default(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = tf.map_fn(
            lambda example: pipeline.prepare_eval(example, section),
            raw,
            fn_output_signature=prepared,
        )
        logits = model({modality: batch}, training=False)
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32))
        return {
            "probabilities": probabilities,
            "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
            "score": tf.reduce_max(probabilities, axis=-1),
        }

    return serving_default


def custom_operations(saved_model_dir: Path) -> list[str]:
    """Operations in a SavedModel that a plain TensorFlow (such as TensorFlow Serving) hasn't got.

    Reads the graph and its function library from the file; nothing is loaded. `tf.raw_ops` is the
    measure because it is fixed when TensorFlow is built: the process's operation registry also has
    what tensorflow-addons or tensorflow-io may have registered by now.

    Args:
      saved_model_dir: the folder with `saved_model.pb`.

    Returns:
      The sorted names, without repetition; empty for a model that can be served anywhere.

    Raises:
      ValueError: if the folder holds no readable SavedModel.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    file = Path(saved_model_dir) / "saved_model.pb"
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(file.read_bytes())
    except (OSError, DecodeError) as error:
        raise ValueError(f"{saved_model_dir}: no readable SavedModel there ({error})") from error
    found: set[str] = set()
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        functions = {function.signature.name for function in graph.library.function}
        nodes = list(graph.node)
        for function in graph.library.function:
            nodes.extend(function.node_def)
        # A node may also call a function of the library by its name.
        found |= {node.op for node in nodes} - functions
    return sorted(op for op in found if op in _PYTHON_OPERATIONS or not _in_core(op))


def _in_core(op: str) -> bool:
    with contextlib.suppress(AttributeError):
        return getattr(tf.raw_ops, op) is not None
    return False
