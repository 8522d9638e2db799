"""The served function: equal to evaluation, for batches of any size, in plain TensorFlow."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from configs import feeds
from pipelines import audio as audio_pipeline
from pipelines import image as image_pipeline
from pipelines import points as points_pipeline
from pipelines.records import DatasetInfo, Feature, Shard, Split
from tf_perceiver import tasks
from tf_perceiver.model import perceiver
from tf_perceiver.serving import signatures

LABELS = ("ant", "bee", "cat")
TRUNK = {
    "num_latents": 4, "latent_channels": 8, "cross_attends": 2, "self_attends_per_block": 1,
    "cross_heads": 1, "self_heads": 2, "sharing": "paper", "arrangement": "interleaved",
}  # fmt: skip


def image_config(channels: int = 3) -> ConfigDict:
    return ConfigDict(
        {
            "data": {
                "modality": "image",
                "image": {
                    "size": (6, 8), "channels": channels, "train_crop": "inception",
                    "crop_area": (0.08, 1.0), "pad": 0, "rotate_degrees": 0.0, "flip": True,
                    "randaugment_layers": 0, "randaugment_magnitude": 5, "eval_crop": 0.875,
                    "mean": (0.5,) * channels, "std": (0.25,) * channels,
                },
            },
            "model": {
                "inputs": {
                    "kind": "pixels", "channels": channels,
                    "positions": {"bands": 2, "max_resolution": (6, 8)},
                },
                "trunk": TRUNK,
            },
        }
    )  # fmt: skip


def points_config() -> ConfigDict:
    return ConfigDict(
        {
            "data": {
                "modality": "points",
                "points": {
                    "num_points": 32, "scale": (0.99, 1.01), "rotate": False, "translate": 0.0,
                },
            },
            "model": {
                "inputs": {
                    "kind": "points", "positions": {"bands": 2, "max_resolution": (8, 8, 8)},
                },
                "trunk": TRUNK,
            },
        }
    )  # fmt: skip


def build(config: ConfigDict) -> perceiver.Perceiver:
    model = perceiver.build(config.model.to_dict(), len(LABELS))
    # The head starts at zero: every answer would be the same.
    rng = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign_add(0.2 * rng.normal(size=variable.shape).astype(np.float32))
    return model


INFO = DatasetInfo(
    "beasts",
    {
        "image": Feature("bytes"),
        "points": Feature("float32", (None, 3)),
        "audio": Feature("int16", (None,)),
        "label": Feature("int64"),
    },
    LABELS,
    {"test": Split("test", (Shard("beasts-test.tfrecord-00000-of-00001", 1, 1, "0"),))},
)


TASK = tasks.build({"name": "classification"}, INFO)


def encoded(shape: tuple[int, ...], kind: str, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def saved_images(tmp_path_factory):
    """(model, config, folder of its SavedModel)."""
    config = image_config()
    model, folder = build(config), tmp_path_factory.mktemp("saved")
    labels = folder / "labels.txt"
    labels.write_text("ant\nbee\ncat\n")
    properties = folder / "properties.json"
    properties.write_text("{}\n")
    served = signatures.ServedModel(model, TASK, config, INFO, labels, properties)
    tf.saved_model.save(
        served, str(folder / "1"), signatures={"serving_default": served.serving_default}
    )
    return model, config, folder / "1"


@pytest.fixture(scope="module")
def serve_images(saved_images):
    return tf.saved_model.load(str(saved_images[2])).signatures["serving_default"]


def test_images_are_answered_as_in_evaluation(saved_images, serve_images):
    model, config, _ = saved_images
    files = [
        encoded((20, 30, 3), "PNG", 1), encoded((9, 7, 3), "JPEG", 2), encoded((16, 16), "PNG", 3),
    ]  # fmt: skip
    answer = serve_images(image_bytes=tf.constant(files))
    batch = tf.stack(
        [
            image_pipeline.prepare_eval({"image": tf.constant(file)}, config.data.image)["image"]
            for file in files
        ]
    )
    expected = tf.nn.softmax(model({"image": batch})).numpy()
    assert np.ptp(expected, axis=0).max() > 0.01  # The three answers do differ.
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
    np.testing.assert_allclose(answer["score"], expected.max(axis=1), atol=1e-6)
    names = [LABELS[i].encode() for i in expected.argmax(axis=1)]
    assert answer["label"].numpy().tolist() == names


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_batch_may_have_any_size(serve_images, size):
    answer = serve_images(image_bytes=tf.constant([encoded((8, 8, 3), "PNG", 0)] * size, tf.string))
    assert answer["probabilities"].shape == (size, 3)
    assert answer["label"].shape == answer["score"].shape == (size,)
    assert answer["label"].dtype == tf.string


def test_answers_do_not_depend_on_the_rest_of_the_batch(serve_images):
    files = [encoded((12, 12, 3), "PNG", seed) for seed in range(4)]
    together = serve_images(image_bytes=tf.constant(files))["probabilities"]
    for file, row in zip(files, together, strict=True):
        alone = serve_images(image_bytes=tf.constant([file]))["probabilities"][0]
        np.testing.assert_allclose(alone, row, atol=1e-6)


def test_signature_is_what_clients_rely_on(serve_images):
    (spec,) = serve_images.structured_input_signature[1].values()
    assert (spec.name, spec.dtype, spec.shape.as_list()) == ("image_bytes", tf.string, [None])
    outputs = serve_images.structured_outputs
    assert set(outputs) == {"probabilities", "label", "score"}
    assert outputs["probabilities"].dtype == tf.float32
    assert outputs["probabilities"].shape.as_list() == [None, 3]


def test_labels_are_an_asset_and_no_operation_is_custom(saved_images):
    folder = saved_images[2]
    assert (folder / "assets" / "labels.txt").read_text() == "ant\nbee\ncat\n"
    assert signatures.custom_operations(folder) == []


@pytest.mark.parametrize(("count", "size"), [(1, 32), (3, 32), (2, 100), (2, 20), (0, 32)])
def test_points_of_any_number_are_answered_as_in_evaluation(count, size):
    config = points_config()
    model = build(config)
    serve = signatures.serving_function(model, TASK, config, INFO)
    clouds = np.random.default_rng(size).normal(size=(count, size, 3)).astype(np.float32)
    answer = serve(tf.constant(clouds))
    assert answer["probabilities"].shape == (count, 3)
    for cloud, row in zip(clouds, answer["probabilities"], strict=True):
        prepared = points_pipeline.prepare_eval(
            {"points": tf.constant(cloud)}, config.data.points
        )["points"]
        expected = tf.nn.softmax(model({"points": prepared[None]}))[0]
        np.testing.assert_allclose(row, expected, atol=1e-6)


SOUND_INPUTS = {
    "waveform": {
        "kind": "waveform", "samples_per_patch": 16,
        "positions": {"bands": 2, "max_resolution": (20,)},
    },
    "mel": {
        "kind": "pixels", "modality": "audio", "channels": 1,
        "positions": {"bands": 2, "max_resolution": (8, 10)},
    },
}  # fmt: skip


@pytest.mark.parametrize("representation", SOUND_INPUTS)
@pytest.mark.parametrize(("count", "size"), [(1, 320), (3, 50), (2, 999), (0, 320)])
def test_sounds_of_any_length_are_answered_as_in_evaluation(representation, count, size):
    mel = None if representation == "waveform" else {"window": 64, "hop": 40, "bins": 10}
    data = feeds.sounds(8_000, 320, 4, mel=mel)
    model_config = {"inputs": SOUND_INPUTS[representation], "trunk": TRUNK}
    config = ConfigDict({"data": data, "model": model_config})
    model = build(config)
    serve = signatures.serving_function(model, TASK, config, INFO)
    waves = np.random.default_rng(size).integers(-9000, 9000, (count, size)).astype(np.int16)
    answer = serve(tf.constant(waves / 32768, tf.float32))
    assert answer["probabilities"].shape == (count, 3)
    for wave, row in zip(waves, answer["probabilities"], strict=True):
        prepared = audio_pipeline.prepare_eval({"audio": tf.constant(wave)}, data.audio)["audio"]
        expected = tf.nn.softmax(model({"audio": prepared[None]}))[0]
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_a_modality_that_cannot_be_served_is_named():
    config = points_config()
    config.data.modality = "smell"
    with pytest.raises(ValueError, match="data.modality='smell' can't be served; choose audio or"):
        signatures.serving_function(lambda batch, training: batch, TASK, config, INFO)


def write_graph(folder, *, node: str = "", function_node: str = ""):
    """A SavedModel file with an operation in its graph and one in a function of its library."""
    saved = saved_model_pb2.SavedModel()
    graph = saved.meta_graphs.add().graph_def
    graph.node.add(name="x", op="Placeholder")
    graph.node.add(name="call", op="my_function")
    if node:
        graph.node.add(name="n", op=node)
    function = graph.library.function.add()
    function.signature.name = "my_function"
    function.node_def.add(name="y", op="Identity")
    if function_node:
        function.node_def.add(name="z", op=function_node)
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())


@pytest.mark.parametrize("op", ["Addons>AdjustHsvInYiq", "IO>DecodeAvif", "EagerPyFunc", "PyFunc"])
@pytest.mark.parametrize("place", ["node", "function_node"])
def test_custom_and_python_operations_are_found_wherever_they_are(tmp_path, op, place):
    write_graph(tmp_path, **{place: op})
    assert signatures.custom_operations(tmp_path) == [op]


def test_core_operations_and_calls_of_the_library_are_not_custom(tmp_path):
    write_graph(tmp_path, node="MatMul", function_node="StatefulPartitionedCall")
    assert signatures.custom_operations(tmp_path) == []


def test_an_operation_is_custom_even_where_its_library_is_loaded(tmp_path):
    """In a process of its own: a loaded library stays loaded."""
    write_graph(tmp_path, node="Addons>AdjustHsvInYiq")
    program = (
        "import pathlib, sys, tensorflow_addons as tfa, tensorflow as tf\n"
        "tfa.image.adjust_hsv_in_yiq(tf.zeros([1, 2, 2, 3]), 0.1)\n"
        "from tf_perceiver.serving import signatures\n"
        "print(signatures.custom_operations(pathlib.Path(sys.argv[1])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stdout.strip() == "['Addons>AdjustHsvInYiq']", done.stderr[-2000:]


@pytest.mark.parametrize("content", [None, b"not a protocol buffer"])
def test_what_is_no_saved_model_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(ValueError, match="no readable SavedModel there"):
        signatures.custom_operations(tmp_path)
