"""CIFAR-100: 50,000 training pictures of 32 x 32 pixels, 100 fine or 20 coarse classes.

CIFAR-10's model and training; the records are those of the dataset `cifar_binary`, from
cifar-100-binary, or of class folders.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import cifar10

VARIANTS = cifar10.VARIANTS


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    config = cifar10.get_config(variant)
    config.name = f"cifar100:{variant}"
    config.data.image.mean = (0.507, 0.487, 0.441)
    config.data.image.std = (0.267, 0.256, 0.276)
    return config
