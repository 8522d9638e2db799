"""Converts a published checkpoint: ``python -m tf_perceiver.weights.convert``.

With ``--source=FILE --preset=io_imagenet_fourier --output=FILE.npz``: reads DeepMind's pickle, or a
state dict of Hugging Face as .safetensors or .npz, and writes the arrays under the names of the
preset's model, whose every shape they must have. Nothing in a pickle is executed. The output is
what `tf_perceiver.weights.archive.load` assigns.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import flags

from tf_perceiver import presets
from tf_perceiver.weights import archive, import_haiku, import_torch, names

SOURCE = flags.DEFINE_string("source", None, "Checkpoint: a pickle, .safetensors or .npz.")
PRESET = flags.DEFINE_string("preset", None, "Its model; `python -m tf_perceiver.presets` lists.")
OUTPUT = flags.DEFINE_string("output", None, "The .npz to write.")
HF_SWAPPED_CONV = flags.DEFINE_bool(
    "hf_swapped_conv",
    True,
    "Hugging Face's 7x7 kernel has rows and columns swapped, as its converter leaves them.",
)

PICKLE = b"\x80"
# What the outputs of a Hugging Face checkpoint depend on beside its arrays; see import_torch.
GELU_NOTE = (
    "note: Hugging Face's GELU is exact, this model's is DeepMind's tanh form; the outputs differ "
    "by about 1e-4"
)
CONV_NOTE = (
    "note: the 7x7 kernel is taken {}; Hugging Face's own stem pads otherwise than DeepMind's and "
    "gives other logits"
)
RESIDUAL_NOTE = (
    "note: Hugging Face's model adds the decoder's query (query_residual), DeepMind's and this "
    "preset don't"
)


def is_pickle(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins as pickles of protocol 2 and later do.

    A safetensors file begins with the length of its header in 8 bytes, the first of which can be
    the same; the header itself is JSON.
    """
    with open(path, "rb") as file:
        start = file.read(9)
    return start.startswith(PICKLE) and not (start[8:] == b"{" and start[4:8] == bytes(4))


def convert(
    source: str | os.PathLike[str],
    fields: Mapping[str, Any],
    outputs: int,
    hf_swapped_conv: bool = True,
) -> dict[str, np.ndarray]:
    """Reads a checkpoint of either origin, under our names and in our layouts.

    Args:
      source: path of a pickle, a .safetensors or an .npz.
      fields: ``config.model`` of its model. outputs: number of classes.
      hf_swapped_conv: see `import_torch.to_neutral`.

    Returns:
      {neutral name: array}, every one of the model's.

    Raises:
      ValueError: what the readers and `archive.check` raise.
      OSError: it can't be read.
    """
    kind = (fields.get("decoder") or {}).get("kind")
    pickled = is_pickle(source)
    # First what may be refused, then what takes TensorFlow.
    arrays = import_haiku.read(source) if pickled else import_torch.read(source)
    shapes = archive.shapes_of(fields, outputs)
    if pickled:
        arrays = import_haiku.to_neutral(arrays, shapes, kind)
    else:
        arrays = import_torch.to_neutral(arrays, shapes, kind, hf_swapped_conv)
    archive.check(arrays, shapes, source)
    return arrays


def notes(preset: str, hf_swapped_conv: bool) -> list[str]:
    """What the user of a Hugging Face checkpoint should know."""
    lines = [GELU_NOTE]
    if preset == "io_imagenet_conv":
        way = "as [out, in, columns, rows]" if hf_swapped_conv else "as [out, in, rows, columns]"
        lines.append(CONV_NOTE.format(way))
    if preset == "io_imagenet_learned":
        lines.append(RESIDUAL_NOTE)
    return lines


def main(argv: list[str]) -> None:
    """Writes the .npz and prints what it holds."""
    del argv
    for flag in (SOURCE, PRESET, OUTPUT):
        if not flag.value:
            raise ValueError(f"--{flag.name} is missing; see --help")
    if PRESET.value not in names.CHECKPOINTS:
        raise ValueError(
            f"--preset={PRESET.value} is no model of a published checkpoint; use one of "
            f"{', '.join(names.CHECKPOINTS)}"
        )
    preset = presets.PRESETS[PRESET.value]
    arrays = convert(SOURCE.value, preset.model(), preset.outputs, HF_SWAPPED_CONV.value)
    archive.save(OUTPUT.value, arrays)
    if not is_pickle(SOURCE.value):
        print("\n".join(notes(PRESET.value, HF_SWAPPED_CONV.value)))
    numbers = sum(array.size for array in arrays.values())
    print(f"{OUTPUT.value}: {len(arrays)} arrays, {numbers:,} numbers, of {PRESET.value}")


if __name__ == "__main__":
    command_line.run(main)
