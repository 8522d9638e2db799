"""scikit-learn's handwritten digits: 1,797 scans of 8 x 8 pixels, 10 classes."""

from __future__ import annotations

import dataclasses
import os
import tempfile

from beam_preprocess.datasets import image_folder


def write_raw(directory: str) -> None:
    """Writes the digits as grey `CLASS/NNNN.png`, into a folder that is missing or empty.

    The folder appears complete or not at all.

    Args:
      directory: local path.
    """
    import numpy as np
    from PIL import Image
    from sklearn import datasets as sklearn_datasets

    digits = sklearn_datasets.load_digits()
    directory = os.path.abspath(directory)
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(directory)) as scratch:
        folder = os.path.join(scratch, "digits")
        for index, (scan, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            os.makedirs(os.path.join(folder, str(label)), exist_ok=True)
            pixels = np.round(scan * (255 / 16)).astype(np.uint8)  # Counts of 4 x 4 bits, 0 to 16.
            Image.fromarray(pixels).save(os.path.join(folder, str(label), f"{index:04d}.png"))
        os.rename(folder, directory)  # POSIX: replaces an empty folder.


DATASET = dataclasses.replace(
    image_folder.DATASET,
    summary="scikit-learn's 1,797 handwritten digits, written to --input where that is empty",
    layouts=("an empty or missing folder, or CLASS/*.png as written there",),
    default_splits="train:0.8,test:0.2",
    write_raw=write_raw,
)
