"""Predicts from raw files: ``python -m tf_perceiver.predict --model=DIR FILE...``.

Prints ``file: label score`` for every file, in the order given. A file that can't be read gets a
line on standard error, the others are answered all the same, and the exit code is 2. A model of
optical flow takes pairs of files, first and second frame, and writes each flow into --output; an
autoencoder writes the reconstruction of each video there, a model of survival each patient's curve.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from tf_perceiver.report.answer_lines import LINES, WRITING, Answer, Wanted
from tf_perceiver.serving import raw_files
from tf_perceiver.serving.raw_files import RAW_KINDS, Arrays

MODEL = flags.DEFINE_string("model", None, "A version of an export, or the folder of versions.")
TOP_K = flags.DEFINE_integer("top_k", 1, "How many classes to print, the most probable first.", 1)
JSON = flags.DEFINE_bool("json", False, "Whether to print one JSON object a file.")

OUTPUT = flags.DEFINE_string(
    "output",
    ".",
    "Folder for answers that are files: a flow, a reconstruction, a survival curve.",
    allow_override=True,  # Other commands have one too, and a process may import several.
)

BAGS = flags.DEFINE_string(
    "bags", None, "Folder of patch features, for a model that reads them beside its tables."
)

BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Model:
    """A loaded export.

    Attributes:
      serve: the signature `serving_default`.
      modality: of `RAW_KINDS`.
      task: name of the task, which says how an answer is told.
      labels: class names in the order of the probabilities.
      properties: what every raw example must have, such as {"sample_rate": 16000}.
    """

    serve: tf.types.experimental.ConcreteFunction
    modality: str
    task: str
    labels: list[str]
    properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def answer(self, examples: list[Arrays]) -> list[Arrays]:
        """Answers raw examples of the same shapes: what the signature gives, one by one."""
        batch = {name: np.stack([one[name] for one in examples]) for name in examples[0]}
        answered = self.serve(**{name: tf.constant(array) for name, array in batch.items()})
        arrays = {name: tensor.numpy() for name, tensor in answered.items()}
        return [{name: array[i] for name, array in arrays.items()} for i in range(len(examples))]


def main(argv: list[str]) -> int:
    """Prints an answer for every file; returns the exit code."""
    if MODEL.value is None:
        raise ValueError("--model is missing; see --help")
    if len(argv) < 2:
        raise ValueError("no files to predict from; name them after the flags")
    model = load(Path(MODEL.value))
    if BAGS.value is not None:
        model = with_bags(model, BAGS.value)
    if model.task in WRITING:
        check_groups(argv[1:], RAW_KINDS[model.modality].files)
    output = Path(OUTPUT.value)
    wanted = Wanted(model.labels, TOP_K.value, JSON.value, output, model.properties)
    failed = False
    for answer in answers(model, argv[1:]):
        if answer.error:
            failed = True
            print(one_line(f"error: {answer.error}"), file=sys.stderr, flush=True)
        else:
            print(one_line(LINES[model.task](answer, wanted)), flush=True)
    return command_line.USAGE_ERROR if failed else 0


def one_line(text: str) -> str:
    """Text that is one line and UTF-8, whatever a file is called: a name may be any bytes."""
    shown = text.encode(errors="backslashreplace").decode()
    return shown.replace("\r", "\\r").replace("\n", "\\n")


def find_version(directory: Path) -> Path:
    """The SavedModel in a folder: the folder itself, or the highest of its numbered versions.

    Raises:
      ValueError: neither.
    """
    if (directory / "saved_model.pb").is_file():
        return directory
    if not directory.is_dir():
        raise ValueError(f"--model={directory}: no such folder; tf_perceiver.export writes them")
    versions = [
        folder
        for folder in directory.iterdir()
        if folder.name.isdecimal() and (folder / "saved_model.pb").is_file()
    ]
    if not versions:
        raise ValueError(
            f"--model={directory}: no SavedModel and no numbered version of one there; "
            "tf_perceiver.export writes WORKDIR/saved_model/STEP"
        )
    return max(versions, key=lambda folder: int(folder.name))


def load(directory: Path) -> Model:
    """Loads an export.

    Raises:
      ValueError: no SavedModel there, a damaged one, or one that tf_perceiver.export didn't write.
    """
    version = find_version(directory)
    try:
        serve = tf.saved_model.load(str(version)).signatures["serving_default"]
        assets = version / "assets"
        labels = (assets / "labels.txt").read_text(encoding="utf-8").split("\n")[:-1]
        properties = json.loads((assets / "properties.json").read_text(encoding="utf-8"))
        modality, task = properties.pop("modality"), properties.pop("task")
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"--model={version} isn't a model of tf_perceiver.export, or is damaged ({reason})"
        ) from error
    return Model(serve, modality, task, labels, properties)


def with_bags(model: Model, folder: str) -> Model:
    """The model with the bags of a folder among its properties.

    Raises:
      ValueError: it reads none, or as `raw_files.find_bags`.
    """
    kind = RAW_KINDS[model.modality]
    if not kind.bags:
        raise ValueError(f"--bags={folder}: the model takes {kind.name} alone, no patches")
    found = raw_files.find_bags(folder)
    return dataclasses.replace(model, properties={**model.properties, "bags": found})


def answers(model: Model, files: Sequence[str]) -> Iterator[Answer]:
    """Answers files in their order, neighbours of one shape together."""
    waiting: list[tuple[str, Arrays]] = []
    count = RAW_KINDS[model.modality].files
    most = 1 if model.task in WRITING else BATCH_SIZE  # Whole frames, one by one.
    for first in range(0, len(files), count):
        file = files[first]
        try:
            example = raw_files.read(
                files[first : first + count], model.modality, model.properties
            )
        except ValueError as error:
            yield from _answer(model, waiting)
            waiting = []
            yield Answer(file, error=str(error))
            continue
        if waiting and (len(waiting) == most or _shapes(waiting[0][1]) != _shapes(example)):
            yield from _answer(model, waiting)
            waiting = []
        waiting.append((file, example))
    yield from _answer(model, waiting)


def check_groups(files: Sequence[str], count: int) -> None:
    """Checks that files can be the examples of a model whose answers are files.

    Raises:
      ValueError: a number that can't be divided, or two first files of one name.
    """
    if len(files) % count:
        raise ValueError(
            f"{len(files)} files are no pairs: name first and second frame of each, in this order"
        )
    stems: dict[str, str] = {}
    for file in files[::count]:
        other = stems.setdefault(Path(file).stem, file)
        if other != file:
            raise ValueError(
                f"{other} and {file} have one name, and so have their answers: ask one by one, "
                "each with an --output of its own"
            )


def _shapes(example: Arrays) -> list[tuple[int, ...]]:
    return [array.shape for array in example.values()]


def _answer(model: Model, waiting: list[tuple[str, Arrays]]) -> Iterator[Answer]:
    """Answers examples of one shape; where TensorFlow refuses one, the others still get theirs."""
    if not waiting:
        return
    try:
        said = model.answer([example for _, example in waiting])
    except tf.errors.InvalidArgumentError as error:
        if len(waiting) > 1:
            for one in waiting:
                yield from _answer(model, [one])
        else:
            # Where in the graph, then on a line of its own why, then the node once more.
            reason = error.message.partition("[[{{")[0].strip().splitlines()[-1].strip()
            yield Answer(waiting[0][0], error=f"{waiting[0][0]}: TensorFlow refuses it ({reason})")
        return
    for (file, asked), one in zip(waiting, said, strict=True):
        yield Answer(file, one, asked=asked)


if __name__ == "__main__":
    command_line.run(main, positional=True)
