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
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import flags

from pipelines.input_pipeline import MODALITIES
from pipelines.readers import audio
from pipelines.records import DatasetInfo, parser
from tf_perceiver.serving import signatures, warmup
from tf_perceiver.training import checkpoint

WORKDIR = flags.DEFINE_string("workdir", None, "Folder that tf_perceiver.train has written.")
OUTPUT = flags.DEFINE_string("output", None, "Folder of versions; by default WORKDIR/saved_model.")
DATA = flags.DEFINE_string("data", None, "Records; by default those it was trained on.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Whether to replace a version that exists.")

EXAMPLES = 8  # Examples of the evaluation split for warm-up and comparison.
SENT = {  # From a record's field to what a client sends.
    "audio": lambda waveform: (waveform / audio.FULL_SCALE).astype(np.float32),
    "image": lambda encoded: np.asarray(encoded, object),
    "points": np.asarray,
}
TOLERANCE = 1e-5  # Between the exported and the live model's probabilities.


def main(argv: list[str]) -> None:
    """Exports the newest valid checkpoint and prints how to ask it."""
    del argv
    if WORKDIR.value is None:
        raise ValueError("--workdir is missing; see --help")
    trained = checkpoint.load_for_inference(WORKDIR.value)
    base = Path(OUTPUT.value or Path(WORKDIR.value) / "saved_model")
    version = base / str(trained.step)
    if version.exists() and not OVERWRITE.value:
        raise ValueError(f"{version} exists; --overwrite replaces it, --output writes elsewhere")
    examples = raw_examples(
        DATA.value or trained.data_directory,
        trained.config.data.eval_split,
        trained.config.data.modality,
        EXAMPLES,
    )
    base.mkdir(parents=True, exist_ok=True)
    # Beside its final place, so that the rename at the end can't turn into a copy.
    unfinished = Path(tempfile.mkdtemp(prefix=f".{trained.step}.", suffix=".part", dir=base))
    try:
        write(unfinished, trained, examples)
        difference = compare(unfinished, trained, examples)
        publish(unfinished, version)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(f"{version}: answers as the live model does (probabilities within {difference:.1g})")
    print(usage(version, trained.config.data.modality))


def raw_examples(directory: str, split: str, modality: str, count: int) -> list[np.ndarray]:
    """The first examples of a split, as a client would send them.

    Args:
      directory: folder that beam_preprocess.run has written.
      split: name of the split.
      modality: the records' field, such as "image".
      count: how many at most.

    Returns:
      Scalars of bytes, or arrays float32 [n, 3] or [n].

    Raises:
      ValueError: no such dataset, split or field, or no example in it.
    """
    try:
        info = DatasetInfo.read(directory)
    except ValueError as error:
        raise ValueError(
            f"{error}; --data names the records to take warm-up examples from"
        ) from None
    if modality not in info.features:
        raise ValueError(
            f"{directory} has {', '.join(sorted(info.features))}, the model takes {modality}; "
            "give --data of the same modality"
        )
    files = [os.path.join(directory, shard.name) for shard in info.split(split).shards]
    records = tf.data.TFRecordDataset(files).map(parser(info.features)).take(count)
    examples = [record[modality] for record in records.as_numpy_iterator()]
    if not examples:
        raise ValueError(f"split {split!r} of {directory} is empty; give other records by --data")
    return [SENT[modality](example) for example in examples]


def write(directory: Path, trained: checkpoint.Restored, examples: list[np.ndarray]) -> None:
    """Writes the SavedModel with its labels and warm-up requests.

    Raises:
      ValueError: if the graph has operations that a plain TensorFlow doesn't know.
    """
    with tempfile.TemporaryDirectory() as scratch:
        labels = Path(scratch) / "labels.txt"
        labels.write_text("".join(f"{label}\n" for label in trained.info.labels), encoding="utf-8")
        properties = Path(scratch) / "properties.json"
        properties.write_text(json.dumps(trained.info.properties) + "\n", encoding="utf-8")
        served = signatures.ServedModel(
            trained.model, trained.config, trained.info, labels, properties
        )
        tf.saved_model.save(
            served, str(directory), signatures={"serving_default": served.serving_default}
        )
    if custom := signatures.custom_operations(directory):
        raise ValueError(
            f"the model can't be served: TensorFlow itself has no operation {', '.join(custom)}; "
            "keep tensorflow-addons and tensorflow-io out of the model and of prepare_eval"
        )
    # A request of one, and one of as many as have the first one's size.
    alike = np.stack([example for example in examples if example.shape == examples[0].shape])
    name = signatures.INPUTS[trained.config.data.modality].name
    warmup.write(directory, name, [alike[:1], alike])


def compare(directory: Path, trained: checkpoint.Restored, examples: list[np.ndarray]) -> float:
    """Loads the SavedModel back and compares its answers with the live model's.

    Returns:
      The largest difference between their probabilities.

    Raises:
      ValueError: if it exceeds `TOLERANCE`.
    """
    data = trained.config.data
    served = tf.saved_model.load(str(directory)).signatures["serving_default"]
    name = signatures.INPUTS[data.modality].name
    largest = 0.0
    for example in examples:
        raw = tf.constant(example.item() if data.modality == "image" else example)
        batch = MODALITIES[data.modality].prepare_eval(raw, data[data.modality])[None]
        expected = tf.nn.softmax(trained.model({data.modality: batch}, training=False))
        answered = served(**{name: raw[None]})["probabilities"]
        largest = max(largest, float(tf.reduce_max(tf.abs(expected - answered))))
    # Written so that NaN fails too.
    if not largest <= TOLERANCE:
        raise ValueError(
            f"the exported model's probabilities differ from the live model's by {largest:.2g}, "
            f"more than {TOLERANCE:.0e}; nothing was exported"
        )
    return largest


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
    instance = {
        "audio": "[0.01, -0.02, ...]",
        "image": """{"b64": "'$(base64 -w0 FILE.png)'"}""",
        "points": "[[0.1, 0.2, 0.3], ...]",
    }[modality]
    file = {"audio": "FILE.wav", "image": "FILE.png", "points": "FILE.off"}[modality]
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
