"""Warm-up requests: real examples that TensorFlow Serving runs before it takes traffic.

Reference: TensorFlow Serving, "SavedModel Warmup": `assets.extra/tf_serving_warmup_requests`, a
TFRecord file of at most 1,000 `PredictionLog` messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_REQUESTS = 1_000


def write(saved_model_dir: Path, batches: Iterable[Mapping[str, np.ndarray]]) -> Path:
    """Writes one predict request for `serving_default` per batch.

    Args:
      saved_model_dir: the version folder.
      batches: raw examples by the names of the signature: such as "image_bytes", bytes [B], or
        "points", float32 [B, n, 3].

    Returns:
      The file.

    Raises:
      ValueError: if there is no batch, or more than TensorFlow Serving accepts.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    file = Path(saved_model_dir) / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    requests = 0
    with tf.io.TFRecordWriter(str(file)) as writer:
        for batch in batches:
            request = predict_pb2.PredictRequest()
            # The name isn't looked at: the model under warm-up answers. It may not be empty.
            request.model_spec.name = "perceiver"
            request.model_spec.signature_name = "serving_default"
            for name, raw in batch.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(raw))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString(deterministic=True))
            requests += 1
    if not 0 < requests <= MAX_REQUESTS:
        raise ValueError(f"{requests} warm-up requests; TensorFlow Serving takes 1 to 1,000")
    return file
