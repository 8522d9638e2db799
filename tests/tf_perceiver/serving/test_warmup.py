"""Warm-up requests: what TensorFlow Serving will read is what was written."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tf_perceiver.serving import warmup


def read(file) -> list[prediction_log_pb2.PredictionLog]:
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    ]


def test_requests_hold_the_examples(tmp_path):
    batches = [np.array([b"one\0"], object), np.array([b"one\0", b"two"], object)]
    file = warmup.write(tmp_path, [{"image_bytes": batch} for batch in batches])
    assert file == tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    logs = read(file)
    for log, batch in zip(logs, batches, strict=True):
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.signature_name == "serving_default"
        assert request.model_spec.name
        assert list(request.inputs) == ["image_bytes"]
        tensor = tf.make_ndarray(request.inputs["image_bytes"])
        assert tensor.tolist() == batch.tolist()


def test_points_keep_their_type_and_shape(tmp_path):
    points = np.random.default_rng(0).random((2, 5, 3), np.float32)
    (log,) = read(warmup.write(tmp_path, [{"points": points}]))
    tensor = log.predict_log.request.inputs["points"]
    assert tensor.dtype == tf.float32.as_datatype_enum
    np.testing.assert_array_equal(tf.make_ndarray(tensor), points)


def test_the_same_requests_give_the_same_file(tmp_path):
    files = [
        warmup.write(tmp_path / name, [{"image_bytes": np.array([b"x"], object)}]) for name in "ab"
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("count", [0, 1001])
def test_a_number_that_serving_refuses_is_refused_here(tmp_path, count):
    with pytest.raises(ValueError, match=f"^{count} warm-up requests"):
        warmup.write(tmp_path, [{"image_bytes": np.array([b"x"], object)}] * count)
