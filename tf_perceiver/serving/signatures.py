"""What a served model is asked and what it answers; the check that it needs nothing but TensorFlow.

The signature decodes and normalises with the same functions as evaluation, those of `pipelines`, so
that the two can't drift apart.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from pipelines import preparation

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo

# By modality what a client sends: the record's field that it stands for -> the signature's input. A
# name that ends in `_bytes` makes TensorFlow Serving's REST interface accept {"b64": ...}.
INPUTS: dict[str, dict[str, tf.TensorSpec]] = {
    # Samples in [-1, 1], at the records' rate.
    "audio": {"audio": tf.TensorSpec([None, None], tf.float32, name="waveform")},
    "audio_video": {
        "frames": tf.TensorSpec([None, None], tf.string, name="frames_bytes"),
        "audio": tf.TensorSpec([None, None], tf.float32, name="waveform"),
    },
    # The same: of it a clip is answered, and given back beside the answer.
    "autoencoding": {
        "frames": tf.TensorSpec([None, None], tf.string, name="frames_bytes"),
        "audio": tf.TensorSpec([None, None], tf.float32, name="waveform"),
    },
    # Rows of features; one of nothing but NaN is padding.
    "clip_features": {
        name: tf.TensorSpec([None, None, None], tf.float32, name=name)
        for name in ("audio_features", "video_features")
    },
    "flow": {"frames": tf.TensorSpec([None, 2], tf.string, name="frames_bytes")},
    "image": {"image": tf.TensorSpec([None], tf.string, name="image_bytes")},
    # The values of all groups of genes, NaN where one is missing.
    "omics": {"omics": tf.TensorSpec([None, None], tf.float32, name="omics")},
    # The same, and features of patches; a row of nothing but NaN is padding.
    "omics_patches": {
        "omics": tf.TensorSpec([None, None], tf.float32, name="omics"),
        "patches": tf.TensorSpec([None, None, None], tf.float32, name="patches"),
    },
    "points": {"points": tf.TensorSpec([None, None, 3], tf.float32, name="points")},
    # A negative variable is padding.
    "series": {
        "hour": tf.TensorSpec([None, None], tf.float32, name="hour"),
        "variable": tf.TensorSpec([None, None], tf.int64, name="variable"),
        "value": tf.TensorSpec([None, None], tf.float32, name="value"),
    },
    "text": {"text": tf.TensorSpec([None], tf.string, name="text_bytes")},
    # JPEGs at the records' frames a second.
    "video": {"frames": tf.TensorSpec([None, None], tf.string, name="frames_bytes")},
}

# Fields that records hold one row after the other -> the property that says how wide a row is.
ROWS = {
    "audio_features": "audio_width",
    "video_features": "video_width",
    "patches": "patch_width",
}

# Registered in TensorFlow itself, yet they call back into the Python process that built the graph.
_PYTHON_OPERATIONS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})


class ServedModel(tf.Module):
    """What `tf.saved_model.save` gets: the variables, the label file and the function, no Keras.

    Without Keras's own metadata the SavedModel is smaller and asks no reader for our classes.

    Attributes:
      weights: the model's variables.
      labels_file: one label a line, in the order of `probabilities`; saved as `assets/labels.txt`.
      properties_file: what is asked and answered, as JSON: {"modality": ..., "task": ...} and what
        every raw example must have, such as "sample_rate"; saved as `assets/properties.json`.
      serving_default: the function of the signature.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        task: Any,
        config: Any,
        info: DatasetInfo,
        labels_file: Path,
        properties_file: Path,
    ) -> None:
        super().__init__(name="served_model")
        self.weights = list(model.variables)
        self.labels_file = tf.saved_model.Asset(str(labels_file))
        self.properties_file = tf.saved_model.Asset(str(properties_file))
        self.serving_default = serving_function(model, task, config, info)


def serving_function(
    model: tf.keras.Model, task: Any, config: Any, info: DatasetInfo
) -> tf.types.experimental.GenericFunction:
    """Raw examples in, the task's answers out.

    The function takes the `INPUTS` of the modality: any number B of examples, 0 included, all of
    one size. It gives what the task answers: one with labels `probabilities`, float32 [B, classes],
    `label`, string [B], the name of the most probable class, and `score`, float32 [B], its
    probability; see the `answers` of the others in `tf_perceiver.tasks`.

    Args:
      model: called as `model(inputs, training=False)`.
      task: whose `answers` are given.
      config: the run's config (a ConfigDict); `config.data` says what is served.
      info: the dataset's description.

    Raises:
      ValueError: if the modality can't be served.
    """
    modality = config.data.modality
    if modality not in INPUTS:
        raise ValueError(
            f"config.data.modality={modality!r} can't be served; choose {' or '.join(INPUTS)}"
        )
    preparing, fields = preparation.of(info, config.data), INPUTS[modality]

    def prepare(raw: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        return preparing.inputs(dict(zip(fields, raw, strict=True)))

    one = tuple(tf.TensorSpec(spec.shape[1:], spec.dtype) for spec in fields.values())
    prepared = tf.function(prepare).get_concrete_function(one).structured_outputs

    @tf.function(input_signature=list(fields.values()))
    def serving_default(*raw: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = tf.map_fn(
            prepare,
            raw,
            fn_output_signature={
                name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in prepared.items()
            },
        )
        return task.answers(model(inputs, training=False))

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
