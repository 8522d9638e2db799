"""Hugging Face's state dicts, with their names and layouts turned into ours.

PyTorch keeps the kernel of a linear as [out, in] and of a convolution as [out, in, rows, columns]
(OIHW); ours are [in, out] and [rows, columns, in, out] (HWIO). Batch norm's arrays are [C] there
and [1, 1, 1, C] here. Tables, paddings and tokens are the same.

Where Hugging Face's models differ from DeepMind's, with the same weights:

- GELU is exact there; here, and where the weights were trained, it is the tanh form. Outputs differ
  by about 1e-4.
- Its converter reversed *all four* axes of DeepMind's HWIO kernels. For the 1x1 convolution that is
  OIHW; for the 7x7 one it is [out, in, columns, rows]: rows and columns are swapped. Reversing all
  axes again restores the original, and is the default. That the published file was written by that
  script is what we go by, the file itself hasn't been examined; a kernel trained in PyTorch is an
  honest OIHW.
- Its convolutional stem pads otherwise (55 x 55 inputs, not 56 x 56), so its published logits for
  that checkpoint aren't DeepMind's, nor ours.
- Its flow is in units of 20 pixels; our preset's decoder multiplies (`scale`). Nothing to do here.
- Its model of the learned positions adds the decoder's query, DeepMind's and ours don't
  (`query_residual`).
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping

import numpy as np

from tf_perceiver.weights import names

# Batch norm's count of training batches.
IGNORED = "num_batches_tracked"
OIHW_TO_HWIO = (2, 3, 1, 0)
REVERSED = (3, 2, 1, 0)
STEM = "pre.image.conv7x7.kernel"


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a state dict from a .safetensors or an .npz file, told apart by their first bytes.

    Returns:
      {key: array}, without the counts of training batches.

    Raises:
      ValueError: it is neither, or damaged, or has arrays of a type that NumPy lacks (bfloat16).
      OSError: it can't be read.
    """
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    arrays = _read_npz(path) if zipped else _read_safetensors(path)
    return {key: array for key, array in arrays.items() if not key.endswith(IGNORED)}


def _read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            if not all(name.endswith(".npy") for name in archive.namelist()):
                raise ValueError(
                    f"{path} is an archive of something else than arrays; a file of torch.save "
                    "must be saved again by safetensors.torch.save_file"
                )
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is a damaged archive ({error}); fetch it again") from error


def _read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    import safetensors
    from safetensors import numpy as tensors

    try:
        arrays = tensors.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no .npz and no safetensors file ({error})") from error
    except TypeError as error:  # NumPy knows no such type ...
        raise _foreign_type(path, error) from error
    for key, array in arrays.items():
        if array.dtype.kind == "V":  # ... or does, since TensorFlow has registered its own.
            raise _foreign_type(path, f"{key} {array.dtype}")
    return arrays


def _foreign_type(path: str | os.PathLike[str], what: object) -> ValueError:
    return ValueError(f"{path} has arrays of a type that NumPy lacks ({what}); save it as float32")


def to_neutral(
    arrays: Mapping[str, np.ndarray],
    wanted: Iterable[str],
    kind: str,
    hf_swapped_conv: bool = True,
) -> dict[str, np.ndarray]:
    """Our names and layouts for a state dict's arrays.

    Args:
      arrays: by key, with or without the prefix "perceiver." of Hugging Face's task models.
      wanted: the model's neutral names.
      kind: one of `names.KINDS`.
      hf_swapped_conv: the 7x7 kernel is as Hugging Face's converter left it, rows and columns
        swapped; False for an honest OIHW.

    Returns:
      {neutral name: array}; what no wanted name stands for keeps its own.

    Raises:
      ValueError: the same array with and without the prefix.
    """
    prefix = names.TORCH_PREFIX
    known = {key.removeprefix(prefix): name for key, name in names.torch_keys(wanted, kind).items()}
    neutral = {}
    for key, array in arrays.items():
        name = known.get(key.removeprefix(prefix), key)
        if name in neutral:
            raise ValueError(f"the state dict has {key} with and without {prefix!r}")
        neutral[name] = layout(array, name, hf_swapped_conv) if name != key else array
    return neutral


def layout(array: np.ndarray, name: str, hf_swapped_conv: bool = True) -> np.ndarray:
    """One array in our layout.

    Args:
      array: in PyTorch's.
      name: neutral name. Square kernels look alike in both layouts: the name decides.
      hf_swapped_conv: see `to_neutral`.
    """
    if name.endswith(".kernel") and array.ndim == 2:
        return array.T
    if name.endswith(".kernel") and array.ndim == 4:
        swapped = hf_swapped_conv and name == STEM
        return array.transpose(REVERSED if swapped else OIHW_TO_HWIO)
    if name.startswith("pre.image.bn.") and array.ndim == 1:
        return array.reshape(1, 1, 1, -1)
    return array
