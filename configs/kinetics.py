"""Kinetics-700 autoencoding: picture, sound and label through the latents of Perceiver IO and back.

`paper` (784 latents, 88 times fewer numbers), `paper_392` (176 times), `paper_196` (352 times):
  python -m beam_preprocess.run --dataset=kinetics --input=DIR --output=DIR
    --sample_rate=48000 --fps=25 --frame_size=256
  python -m tf_perceiver.train --config=configs/kinetics.py:paper --data=DIR --workdir=DIR
  paper     PSNR of the sound 26.97, 25.33, 14.15 dB, of the picture 24.37, 24.27, 23.21 dB; top-1
            10.2, 8.6, 11.5 %. With --config.task.label_weight=1: top-1 45 %, picture 20.7 dB
  Batch, learning rate, loss, latents and queries are the paper's. How long it trained, the schedule
  and the augmentation are not stated: they are 100 epochs, ImageNet's, and a shifted window with
  flips here. Not trained by us.
`small` is for two CPU cores: 8 frames of 64 x 64 pixels and 5,120 samples at 16 kHz
  python -m beam_preprocess.run --dataset=kinetics --input=DIR --output=DIR --sample_rate=16000
    --frame_size=72 --splits=train:0.8,val:0.2
`tiny` takes seconds and learns little; --sample_rate=16000.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base, feeds
from tf_perceiver import presets

VARIANTS = ("paper", "paper_392", "paper_196", "small", "tiny")
FPS = 25


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; see above."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    size, _, latents = variant.partition("_")
    model = presets.io_kinetics_autoencoder()
    model["inputs"]["modalities"]["label"]["classes"] = 0  # As many as the dataset has.
    if size == "paper":
        model["trunk"]["num_latents"] = int(latents or 784)
        seen = feeds.videos(
            presets.VIDEO_FRAMES, (presets.VIDEO_SIZE, presets.VIDEO_SIZE), 1024, fps=FPS, **LOOK
        )
        heard = feeds.sounds(48_000, presets.AUDIO_SAMPLES, 1024)
        data = feeds.clips(seen, heard, audio_patch=presets.AUDIO_PATCH)
        data.eval_batch_size = 64  # Of which everything is decoded.
    else:
        data = reduced(model, size == "tiny")
    config = base.classification(f"kinetics:{variant}", model)
    config.data = data
    config.task = ConfigDict(
        {"name": "autoencoding", "image_weight": 0.03, "audio_weight": 1.0, "label_weight": 1e-4}
    )
    config.optimizer.learning_rate = 1e-3
    config.train.epochs = 100.0
    if size != "paper":
        base.pace(config, size == "tiny", epochs=120.0)
        config.optimizer.learning_rate = 4e-3
        if size == "small":
            config.task.image_weight = 1.0
            config.task.label_weight = 0.1
            config.train.checkpoint_every = config.train.eval_every = 500
    return config


LOOK = {
    "train_crop": "shift",
    "eval_crop": 224 / 256,
    "flip": True,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
}
"""Of the clips: colours stay what they are."""


def reduced(model: dict[str, Any], tiny: bool) -> ConfigDict:
    """Makes the preset's model smaller, and gives the ``config.data`` that fits it."""
    rate, patch, batch_size = 16_000, 16, 4 if tiny else 16
    frames, side = (4, 16) if tiny else (8, 64)
    samples = frames * rate // FPS
    coarse = {
        "bands": 4 if tiny else 16,
        "max_resolution": (frames, side // 4, side // 4),
    }
    # The answers lie on a finer grid than the patches that are read.
    fine = {"bands": 4 if tiny else 32, "max_resolution": (frames, side, side)}
    tones = {"bands": 8 if tiny else 64, "max_resolution": (samples // patch,)}
    parts, decoder = model["inputs"]["modalities"], model["decoder"]
    parts["audio"].update(samples_per_patch=patch, positions=tones)
    parts["image"].update(positions=coarse)
    model["trunk"].update(
        num_latents=8 if tiny else 128,
        latent_channels=16 if tiny else 192,
        self_attends_per_block=1 if tiny else 4,
        self_heads=2 if tiny else 4,
    )
    decoder.update(
        outputs=16 if tiny else 192,
        label_channels=16 if tiny else 192,
        image={"index_dims": (frames, side, side), "positions": fine},
        audio={"samples": samples, "samples_per_patch": patch, "positions": tones},
        chunk=256 if tiny else 4096,
    )
    look = {**LOOK, "eval_crop": 8 / 9}
    return feeds.clips(
        feeds.videos(frames, (side, side), batch_size, fps=FPS, **look),
        feeds.sounds(rate, samples, batch_size),
        audio_patch=patch,
        image_queries=64 if tiny else 512,
        audio_queries=min(64 if tiny else 512, samples // patch),
    )
