"""CIFAR-10: 50,000 training pictures of 32 x 32 pixels, 10 classes.

`small`: python -m tf_perceiver.train --config=configs/cifar10.py:small --data=DIR --workdir=DIR
  data      official split, lossy JPEG copies of the pictures
  hardware  2 cores of an AMD EPYC (AVX2), no GPU, tests of low priority beside it
  time      56 minutes for 12 epochs, at 120 to 290 examples/s; earlier runs took 48 and 64
  accuracy  62.9 %, one seed (63.2 % another time); the same in training, so it is still
            under-trained

Patches of 4 x 4 pixels and six heads in the cross-attends: single pixels learned at half the speed
(57.5 % after 10 epochs).
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base, feeds, small

VARIANTS = ("small", "tiny")


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny = variant == "tiny"
    config = base.classification(
        f"cifar10:{variant}",
        small.small_pixels(
            tiny,
            size=32,
            patch=4,
            bands=4,
            latents=32,
            channels=192,
            self_attends=3,
            cross_heads=6,
        ),
    )
    config.data = feeds.images(
        (32, 32),
        32 if tiny else 64,
        mean=(0.491, 0.482, 0.447),
        std=(0.247, 0.243, 0.262),
        train_crop="pad",
        randaugment_layers=0,
        eval_crop=1.0,
    )
    base.pace(config, tiny, epochs=12.0)
    config.optimizer.constant_fraction = 0.25
    return config
