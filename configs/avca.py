"""AVCA's zero-shot benchmarks of UCF, ActivityNet and VGGSound, by features or by the clips.

`small`, stage 1, then `small_stage2` with the bias that `tf_perceiver.evaluate` says of stage 1:
  python -m tf_perceiver.train --config=configs/avca.py:small --data=DIR --workdir=DIR
  python -m tf_perceiver.train --config=configs/avca.py:small_stage2 --config.task.bias=B
         --data=DIR --workdir=DIR
  data      --dataset=avca --benchmark=ucf, activitynet or vggsound, --stage=1 or 2; for SeLaVi's
            features (--feature_set=main) --config.data.clip_features.audio_width=512 and
            .video_width=512
`small_clips`, `small_clips_stage2`: the same on the clips themselves, 2.56 s of picture and sound
  data      --dataset=avca_clips --sample_rate=16000 --frame_size=72
Not trained by us on the published features or clips, which could not be fetched where this was
written.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base, feeds

VARIANTS = tuple(
    f"{size}{read}{stage}"
    for size in ("small", "tiny")
    for read in ("", "_clips")
    for stage in ("", "_stage2")
)
WIDTHS = {"audio": 128, "video": 4096}
LENGTHS = {"audio": 16, "video": 16}
# Of clips: every fourth frame of 25 a second.
FPS, STRIDE, SAMPLE_RATE = 25, 4, 16_000


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny, stage = variant.startswith("tiny"), 2 if variant.endswith("_stage2") else 1
    inputs, data = (_clips if "_clips" in variant else _features)(tiny, stage)
    model = {
        "inputs": {"kind": "multimodal", "min_padding": 2, "modalities": inputs},
        "trunk": {
            "num_latents": 4 if tiny else 16,
            "latent_channels": 16 if tiny else 128,
            "cross_attends": 1,
            "self_attends_per_block": 1 if tiny else 2,
            "cross_heads": 1,
            "self_heads": 2 if tiny else 4,
            "sharing": "paper",
            "arrangement": "interleaved",
            "attention": "structured",
            "block_size": 0,
            "recompute": False,
        },
    }
    config = base.classification(f"avca:{variant}", model)
    config.task = ConfigDict(
        {"name": "zero_shot", "scale": 10.0, "bias": -1.0, "biases": (0.0, 3.0, 16)}
    )
    config.data = data
    if data.modality == "clip_features":
        for name, part in config.model.inputs.modalities.items():  # So that one flag sets both.
            part.width = config.data.clip_features.get_ref(f"{name}_width")
    base.pace(config, tiny, epochs=20.0)
    if not tiny:
        config.optimizer.learning_rate = 2e-3
        config.optimizer.constant_fraction = 0.0
        config.train.checkpoint_every = config.train.eval_every = 100
    return config


def _features(tiny: bool, stage: int) -> tuple[dict[str, Any], ConfigDict]:
    """``config.model.inputs.modalities`` and ``config.data`` for features of clips."""
    data = feeds.clip_features(
        stage, WIDTHS, LENGTHS, 32 if tiny else 128,
        noise=0.2, audio_dropout=0.1, video_dropout=0.1,
    )  # fmt: skip
    inputs = {
        name: {
            "kind": "rows",
            "width": width,
            "project": 16 if tiny else 128,
            "positions": {"bands": 4, "max_resolution": (LENGTHS[name],)},
        }
        for name, width in WIDTHS.items()
    }
    return inputs, data


def _clips(tiny: bool, stage: int) -> tuple[dict[str, Any], ConfigDict]:
    """The same for the clips: patches of 2 frames, 8 x 8 pixels, and of 4 x 4 spectral values."""
    frames, side, bins, batch_size = (4, 16, 12, 8) if tiny else (16, 64, 64, 32)
    samples = frames * STRIDE * SAMPLE_RATE // FPS
    hop = samples // (16 if tiny else 128)
    video = feeds.videos(frames, (side, side), batch_size, fps=FPS, stride=STRIDE)
    audio = feeds.sounds(
        SAMPLE_RATE, samples, batch_size, mel={"window": 2 * hop, "hop": hop, "bins": bins}
    )
    data = feeds.seen_and_heard(video, audio, audio_dropout=0.1)
    data.eval_split = "val" if stage == 1 else "test"
    data.shuffle_buffer = 512  # Whole clips, of some hundred kilobytes each.
    inputs = {
        "audio": {
            "kind": "patches",
            "channels": 1,
            "patch": 4,
            "positions": {"bands": 4, "max_resolution": (samples // hop // 4, bins // 4)},
        },
        "video": {
            "kind": "patches",
            "channels": 3,
            "patch": 8,
            "frames": 2,
            "positions": {"bands": 4, "max_resolution": (frames // 2, side // 8, side // 8)},
        },
    }
    return inputs, data
