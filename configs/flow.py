"""Optical flow: where every pixel of a frame is in the next one.

`paper` is Perceiver IO's published model, 41,057,134 parameters, with its optimizer and batch. The
paper trains it on AutoFlow, 400,000 pairs, which must be brought into one of the layouts here.

`small`: pairs that beam_preprocess makes of any photographs, 120 of ImageNet's here
  python -m beam_preprocess.run --dataset=synthetic_flow --input=DIR --output=DIR
    --splits=train:0.9,val:0.1 --pairs=40 --max_side=64 --motion=2
  python -m tf_perceiver.train --config=configs/flow.py:small --data=DIR --workdir=DIR
  hardware  2 cores of an AMD EPYC (AVX-512), no GPU, two other trainings beside it
  time      17 minutes
  EPE       0.37 px on the 720 pairs of 18 photographs held out, where zero flow has 0.90; one seed

`overfit`: the middles, 128 x 192 pixels, of a handful of real pairs at their native scale, learned
  by heart
  python -m beam_preprocess.run --dataset=flyingchairs --input=DIR --output=DIR --splits=train:1
  python -m tf_perceiver.train --config=configs/flow.py:overfit --data=DIR --workdir=DIR
  hardware  as above, one other training beside it
  time      19 minutes
  EPE       0.29 px on six pairs of FlyingChairs, where zero flow has 12.45; one seed
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base, feeds
from tf_perceiver import presets

VARIANTS = ("small", "overfit", "tiny", "paper")
UNCHANGED = {
    "scale": (1.0, 1.0), "stretch": 0.0, "flip": 0.0, "flip_vertical": 0.0, "brightness": 0.0,
    "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "asymmetric": 0.0, "erase": 0.0,
}  # fmt: skip


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    match variant:
        case "paper":
            config = _config(variant, presets.io_flow(), presets.FLOW_SIZE)
            config.data = feeds.frame_pairs(presets.FLOW_SIZE, presets.FLOW_SIZE, 512)
            config.optimizer.learning_rate = 4e-4
            config.optimizer.schedule = "cosine"
            config.train.epochs = 480.0
        case "tiny":
            size = (48, 64)  # Few tiles a frame: each is a piece of the graph of its own.
            model = _model(size, bands=4, latents=8, channels=16, self_attends=1, heads=2)
            config = _config(variant, model, size, overlap=4)
            config.data = feeds.frame_pairs(size, (116, 116), 4, erase_size=(4, 8))
            base.pace(config, True, epochs=1.0)
        case "small":
            size = (24, 24)
            model = _model(
                size, bands=8, latents=64, channels=128, self_attends=3, heads=4, project=64,
                scale=100.0,
            )  # fmt: skip
            config = _config(variant, model, size, overlap=12)
            # Photographs of any proportions, 64 pixels at the longer side.
            config.data = feeds.frame_pairs(
                size, (60, 60), 32, **{**UNCHANGED, "flip": 0.5, "flip_vertical": 0.5}
            )
            config.data.shuffle_buffer = 4096
            # At 4e-3 some seeds still answered that nothing moves after 500 steps.
            config.optimizer.learning_rate = 1e-3
            base.pace(config, False, epochs=24.0)
            config.train.checkpoint_every = config.train.eval_every = 500
        case "overfit":
            size = (128, 192)
            model = _model(
                size, bands=24, latents=128, channels=128, self_attends=3, heads=4, scale=500.0
            )
            config = _config(variant, model, size)
            # With plain errors what moves in front of a background that is right already wasn't
            # learned in 6,000 steps.
            config.task.huber = 10.0
            config.data = feeds.frame_pairs(size, size, 2, crop="centre", **UNCHANGED)
            config.data.eval_split = "train"
            config.optimizer.name = "adamw"
            config.optimizer.learning_rate = 1e-3
            config.optimizer.constant_fraction = 0.0
            config.optimizer.warmup_steps = 100
            config.optimizer.weight_decay = 0.0
            base.pace(config, False, epochs=1.0)
            config.train.steps = 3000
            config.train.checkpoint_every = config.train.eval_every = 500
        case _:
            raise base.unknown_variant(variant, VARIANTS)
    return config


def _config(
    variant: str, model: dict[str, Any], tile: tuple[int, int], overlap: int = 20
) -> ConfigDict:
    config = base.classification(f"flow:{variant}", model)
    config.task = ConfigDict({"name": "flow", "tile": tile, "overlap": overlap, "huber": 0.0})
    return config


def _model(
    size: tuple[int, int],
    *,
    bands: int,
    latents: int,
    channels: int,
    self_attends: int,
    heads: int,
    project: int = 32,
    scale: float = 20.0,
) -> dict[str, Any]:
    """The published model in small.

    `scale`, in hundredths of a pixel, is what an output of 1 stands for: the published 20 takes
    outputs of hundreds for flows of tens of pixels, which short trainings don't reach.
    """
    model = presets.io_flow()
    model["inputs"].update(project=project, positions={"bands": bands, "max_resolution": size})
    model["decoder"]["scale"] = scale
    model["trunk"].update(
        num_latents=latents,
        latent_channels=channels,
        self_attends_per_block=self_attends,
        self_heads=heads,
    )
    return model
