"""Exports a trained workdir: ``python -m tf_perceiver.export --workdir=DIR [--output=DIR]``.

Writes ``<workdir>/saved_model/<step>/``: a SavedModel with the signature `serving_default`, which
takes raw files' contents, the labels among its assets, and warm-up requests. It appears under its
number when it is whole and has given the live model's answers; until then TensorFlow Serving,
which watches the folder for numbers, doesn't see it.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from pipelines import preparation
from pipelines.readers import audio
from pipelines.records import DatasetInfo, parser
from tf_perceiver.serving import agreement, signatures, warmup
from tf_perceiver.training import checkpoint

WORKDIR = flags.DEFINE_string("workdir", None, "Folder that tf_perceiver.train has written.")
OUTPUT = flags.DEFINE_string("output", None, "Folder of versions; by default WORKDIR/saved_model.")
DATA = flags.DEFINE_string("data", None, "Records; by default those it was trained on.")
BEST = flags.DEFINE_bool(
    "best", False, "Whether to take checkpoints/best, see config.train.best_metric."
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Whether to replace a version that exists.")

EXAMPLES = 8  # Examples of the evaluation split for warm-up and comparison.
TOLERANCE = 1e-5  # Between the exported and the live model's answers, relative to 1 or the largest.
# As many times may they differ as the live model's own do where its inputs' last bits change: a
# model that was sharpened by heart, such as flow's overfitted one, makes much of a rounding.
ROUNDINGS = 10.0
MOST = 1e-3  # What is further apart has another reason.


def main(argv: list[str]) -> None:
    """Exports the newest valid checkpoint and prints how to ask it."""
    del argv
    if WORKDIR.value is None:
        raise ValueError("--workdir is missing; see --help")
    trained = checkpoint.load_for_inference(WORKDIR.value, best=BEST.value)
    base = Path(OUTPUT.value or Path(WORKDIR.value) / "saved_model")
    version = base / str(trained.step)
    if version.exists() and not OVERWRITE.value:
        raise ValueError(f"{version} exists; --overwrite replaces it, --output writes elsewhere")
    examples = raw_examples(
        DATA.value or trained.data_directory,
        trained.config.data.eval_split,
        signatures.INPUTS[trained.config.data.modality],
        EXAMPLES,
    )
    base.mkdir(parents=True, exist_ok=True)
    # Beside its final place, so that the rename at the end can't turn into a copy.
    unfinished = Path(tempfile.mkdtemp(prefix=f".{trained.step}.", suffix=".part", dir=base))
    try:
        write(unfinished, trained, examples)
        apart = compare(unfinished, trained, examples)
        publish(unfinished, version)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(f"{version}: answers as the live model does (within {apart:.1g})")
    print(usage(version, trained.config.data.modality))


def raw_examples(
    directory: str, split: str, inputs: Mapping[str, tf.TensorSpec], count: int
) -> list[dict[str, np.ndarray]]:
    """The first examples of a split, as a client would send them.

    Args:
      directory: folder that beam_preprocess.run has written.
      split: name of the split.
      inputs: of the signature, by the record's field; see `signatures.INPUTS`.
      count: how many at most.

    Returns:
      For each example the signature's inputs by name: scalars of bytes, or arrays.

    Raises:
      ValueError: no such dataset, split or field, or no example in it.
    """
    try:
        info = DatasetInfo.read(directory)
    except ValueError as error:
        raise ValueError(
            f"{error}; --data names the records to take warm-up examples from"
        ) from None
    missing = sorted(set(inputs) - set(info.features))
    if missing:
        raise ValueError(
            f"{directory} has {', '.join(sorted(info.features))}, the model takes "
            f"{', '.join(missing)}; give --data of the same modality"
        )
    files = [os.path.join(directory, shard.name) for shard in info.split(split).shards]
    features = {name: info.features[name] for name in inputs}
    records = tf.data.TFRecordDataset(files).map(parser(features)).take(count)
    examples = [
        {
            spec.name: sent(record[field], info.properties.get(signatures.ROWS.get(field)))
            for field, spec in inputs.items()
        }
        for record in records.as_numpy_iterator()
    ]
    if not examples:
        raise ValueError(f"split {split!r} of {directory} is empty; give other records by --data")
    return examples


def sent(value: bytes | np.ndarray, width: int | None = None) -> np.ndarray:
    """A record's field as a client sends it: samples of 16 bits become float32 in [-1, 1].

    Args:
      value: as it was parsed.
      width: of its rows, where it holds them one after the other.
    """
    if isinstance(value, bytes):
        return np.array(value, object)
    array = np.asarray(value) if width is None else np.reshape(value, [-1, width])
    return (array / audio.FULL_SCALE).astype(np.float32) if array.dtype == np.int16 else array


def write(
    directory: Path, trained: checkpoint.Restored, examples: list[dict[str, np.ndarray]]
) -> None:
    """Writes the SavedModel with its labels and warm-up requests.

    Raises:
      ValueError: if the graph has operations that a plain TensorFlow doesn't know.
    """
    with tempfile.TemporaryDirectory() as scratch:
        labels = Path(scratch) / "labels.txt"
        labels.write_text("".join(f"{label}\n" for label in trained.info.labels), encoding="utf-8")
        properties = Path(scratch) / "properties.json"
        asked = {"modality": trained.config.data.modality, "task": trained.config.task.name}
        properties.write_text(json.dumps(asked | trained.info.properties) + "\n", encoding="utf-8")
        served = signatures.ServedModel(
            trained.model, trained.task, trained.config, trained.info, labels, properties
        )
        tf.saved_model.save(
            served, str(directory), signatures={"serving_default": served.serving_default}
        )
    if custom := signatures.custom_operations(directory):
        raise ValueError(
            f"the model can't be served: TensorFlow itself has no operation {', '.join(custom)}; "
            "keep tensorflow-addons and tensorflow-io out of the model and of prepare_eval"
        )
    # A request of one, and one of as many as have the first one's shapes, decoded ones too.
    shapes = [_shapes(one) + _prepared_shapes(one, trained) for one in examples]
    alike = [one for one, its in zip(examples, shapes, strict=True) if its == shapes[0]]
    warmup.write(directory, [_stacked(alike[:1]), _stacked(alike)])


def compare(
    directory: Path, trained: checkpoint.Restored, examples: list[dict[str, np.ndarray]]
) -> float:
    """Loads the SavedModel back and compares its answers with the live model's.

    Returns:
      The largest difference of a number that they answer, in units of the largest of its kind or
      of 1, whichever is more.

    Raises:
      ValueError: if it exceeds `MOST`, or both `TOLERANCE` and what rounding explains.
    """
    served = tf.saved_model.load(str(directory)).signatures["serving_default"]
    differences, roundings = [], []

    def live(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return trained.task.answers(trained.model(batch, training=False))

    for example in examples:
        raw = {name: tf.constant(_tensor(value)) for name, value in example.items()}
        batch = {name: field[None] for name, field in _prepared(raw, trained).items()}
        expected = live(batch)
        answered = served(**{name: value[None] for name, value in raw.items()})
        differences.append(agreement.difference(answered, expected))
        roundings.append(agreement.rounding(live, batch, expected))
    largest = float(np.max(differences))  # NumPy's keeps a NaN, which fails below.
    allowed = min(max(TOLERANCE, ROUNDINGS * float(np.max(roundings))), MOST)
    if not largest <= allowed:
        raise ValueError(
            f"the exported model's answers differ from the live model's by {largest:.2g}, "
            f"more than {allowed:.0e}; nothing was exported"
        )
    return largest


def _prepared(raw: Mapping[str, tf.Tensor], trained: checkpoint.Restored) -> dict[str, tf.Tensor]:
    """What the model gets of a raw example."""
    data = trained.config.data
    inputs = signatures.INPUTS[data.modality].items()
    fields = {field: raw[spec.name] for field, spec in inputs}
    return preparation.of(trained.info, data).inputs(fields)


def _prepared_shapes(
    example: dict[str, np.ndarray], trained: checkpoint.Restored
) -> list[tuple[int, ...]]:
    raw = {name: tf.constant(_tensor(value)) for name, value in example.items()}
    return [tuple(value.shape) for value in _prepared(raw, trained).values()]


def _tensor(value: np.ndarray) -> Any:
    return value.item() if value.dtype == object and not value.shape else value


def _shapes(example: dict[str, np.ndarray]) -> list[tuple[int, ...]]:
    return [value.shape for value in example.values()]


def _stacked(examples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([one[name] for one in examples]) for name in examples[0]}


def publish(unfinished: Path, version: Path) -> None:
    """Gives a finished export its number; a version that exists is replaced."""
    unfinished.chmod(0o755)  # mkdtemp's folders are for their owner alone; servers are others.
    if not version.exists():
        unfinished.rename(version)
        return
    replaced = unfinished.with_name(f"{unfinished.name}.old")
    version.rename(replaced)
    unfinished.rename(version)
    shutil.rmtree(replaced)


def usage(version: Path, modality: str) -> str:
    """How to ask the exported model, as commands."""
    image = """{"b64": "'$(base64 -w0 FILE.png)'"}"""
    frames = f"[{image.replace('png', 'jpg')}, ...]"
    samples = "[0.01, -0.02, ...]"
    instance, file = {
        "audio": (samples, "FILE.wav"),
        "audio_video": (f'{{"frames_bytes": {frames}, "waveform": {samples}}}', "FILE.mp4"),
        "autoencoding": (f'{{"frames_bytes": {frames}, "waveform": {samples}}}', "FILE.mp4"),
        "clip_features": (
            '{"audio_features": [[0.5, ...], ...], "video_features": [[1.2, ...], ...]}',
            "FILE.npz",
        ),
        "flow": (
            f"[{image.replace('FILE', 'FIRST')}, {image.replace('FILE', 'SECOND')}]",
            "FIRST.png SECOND.png",
        ),
        "image": (image, "FILE.png"),
        "omics": ("[0.5, -1.2, ...]", "FILE.csv"),
        "omics_patches": (
            '{"omics": [0.5, -1.2, ...], "patches": [[0.1, ...], ...]}',
            "FILE.csv --bags=FOLDER",
        ),
        "points": ("[[0.1, 0.2, 0.3], ...]", "FILE.off"),
        "series": ('{"hour": [0.1, ...], "variable": [23, ...], "value": [73.0, ...]}', "FILE.csv"),
        "text": (image.replace("png", "txt"), "FILE.txt"),
        "video": (frames, "FILE.mp4"),
    }[modality]
    return "\n".join(
        [
            "Ask it here:",
            f"  python -m tf_perceiver.predict --model={version} {file}",
            "or serve it and ask over HTTP:",
            "  tensorflow_model_server --rest_api_port=8501 --model_name=perceiver "
            f"--model_base_path={version.parent.resolve()}",
            f"  curl -d '{{\"instances\": [{instance}]}}' "
            "http://localhost:8501/v1/models/perceiver:predict",
        ]
    )


if __name__ == "__main__":
    command_line.run(main)
