"""Published models by name, with their parameters and FLOPs beside the published figures.

`python -m tf_perceiver.presets` prints the table. A preset is what goes into ``config.model``.

References: Perceiver (ICML 2021), section 4 and appendices; Perceiver IO (ICLR 2022), tables 6, 7
and 11 and appendices; DeepMind's published checkpoints. Where the two papers leave a number open,
the docstring says what is here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_perceiver.model.perceiver import Perceiver

Fields = dict[str, Any]

AUDIOSET_FRAMES = 32  # 1.28 s, as long as the 61,440 samples.
VIDEO_FRAMES, VIDEO_SIZE, AUDIO_SAMPLES, AUDIO_PATCH = 16, 224, 30_720, 16
FLOW_SIZE = (368, 496)


def imagenet() -> Fields:
    """The best ImageNet model: 224 x 224 pixels, Fourier positions, 8 cross-attends.

    512 latents of 1024 channels, 8 x (1 cross-attend, 6 self-attends of 8 heads); cross-attends
    1 to 7 share their weights, and so do all blocks: 44,912,254 parameters with 1,000 classes.
    """
    return {"inputs": _pixels(), "trunk": _original(8, 6)}


def imagenet_unshared() -> Fields:
    """The same with weights of its own for every repetition: 326,241,856 parameters, overfits."""
    return {"inputs": _pixels(), "trunk": _original(8, 6, sharing="none")}


def imagenet_one_cross() -> Fields:
    """The same with a single reading of the pixels: 42,135,859 parameters, 76.7 % in the paper."""
    return {"inputs": _pixels(), "trunk": _original(1, 6, blocks=8)}


def imagenet_learned() -> Fields:
    """The model of permuted ImageNet without any knowledge of pictures: learned positions.

    A table of 128 channels, one cross-attend: more of them made it unstable. The paper found its
    initial scale best at 1.0.
    """
    positions = {"kind": "learned", "index_dims": (224, 224), "channels": 128, "scale": 1.0}
    return {"inputs": _pixels(positions), "trunk": _original(1, 6, blocks=8)}


def modelnet40() -> Fields:
    """The point-cloud model: 2 x (1 cross-attend, 6 self-attends), frequencies up to 1,120.

    The paper gives the maximum *frequency*, 1120, ten times ImageNet's; max_resolution is twice
    that. Whether its two blocks share weights is not stated; here they do, as on ImageNet.
    """
    return {
        "inputs": {
            "kind": "points",
            "positions": {"bands": 64, "max_resolution": (2240, 2240, 2240)},
        },
        "trunk": _original(2, 6),
    }


def audioset_raw() -> Fields:
    """AudioSet by raw sound alone: 61,440 samples at 48 kHz in 480 patches of 128.

    The trunk of all AudioSet models: 2 x (1 cross-attend, 8 self-attends), nothing shared. The
    bands of the sound's positions are not stated: 64, up to the number of patches.
    """
    return {"inputs": _sound(), "trunk": _original(2, 8, sharing="none")}


def audioset_mel() -> Fields:
    """AudioSet by log-mel spectrogram: 4,800 inputs, one value each (60 bins x 80 frames).

    How the 4,800 divide into bins and frames is not stated, nor are the bands: 64 an axis.
    """
    return {"inputs": _mel(), "trunk": _original(2, 8, sharing="none")}


def audioset_video() -> Fields:
    """AudioSet by video: 32 frames of 224 x 224, 12,544 patches of 2 x 8 x 8, 16 bands an axis."""
    return {"inputs": _video_patches(), "trunk": _original(2, 8, sharing="none")}


def audioset_raw_video() -> Fields:
    """AudioSet by raw sound and video: 13,024 inputs of 487 channels."""
    return {"inputs": _together(audio=_sound()), "trunk": _original(2, 8, sharing="none")}


def audioset_mel_video() -> Fields:
    """AudioSet by spectrogram and video: 17,344 inputs of 487 channels."""
    return {"inputs": _together(audio=_mel()), "trunk": _original(2, 8, sharing="none")}


def io_imagenet_fourier() -> Fields:
    """Perceiver IO on ImageNet with Fourier positions."""
    return {
        "inputs": _pixels(),
        "trunk": _imagenet_io(),
        "decoder": _classified(residual=True),
    }


def io_imagenet_learned() -> Fields:
    """Perceiver IO on ImageNet with learned positions, which know nothing of two dimensions.

    The decoder's query residual is off, as in DeepMind's own notebook.
    """
    positions = {
        "kind": "learned",
        "index_dims": (224, 224),
        "channels": 256,
        "project": 256,
    }
    return {
        "inputs": {
            "kind": "conv1x1",
            "channels": 3,
            "outputs": 256,
            "stride": 1,
            "positions": positions,
        },
        "trunk": _imagenet_io(),
        "decoder": _classified(residual=False),
    }


def io_imagenet_conv() -> Fields:
    """Perceiver IO on ImageNet behind a convolution and max pooling: 56 x 56 inputs."""
    return {
        "inputs": {
            "kind": "conv",
            "channels": 3,
            "outputs": 64,
            "downsample": 4,
            "batch_norm": True,
            "positions": {"bands": 64, "max_resolution": (56, 56)},
        },
        "trunk": _imagenet_io(),
        "decoder": _classified(residual=True),
    }


def io_flow() -> Fields:
    """Optical flow, the published checkpoint: 24 self-attends of 16 heads, 2,048 latents."""
    return _flow(latents=2048, self_attends=24)


def io_flow_light() -> Fields:
    """Optical flow, the model of the paper's counts: 16 self-attends, 1,024 latents."""
    return _flow(latents=1024, self_attends=16)


def io_kinetics_autoencoder() -> Fields:
    """Video, sound and label of Kinetics-700 through 784 latents of 512 channels.

    32 bands for the pictures, as in the published code and checkpoint (the paper's text has 64),
    at the encoder grid's resolution in the decoder too. It learned from samples of the queries, so
    that all of them are asked for where samples lie.
    """
    image = {"bands": 32, "max_resolution": (VIDEO_FRAMES, VIDEO_SIZE // 4, VIDEO_SIZE // 4)}
    audio = {"bands": 192, "max_resolution": (AUDIO_SAMPLES,)}
    return {
        "inputs": {
            "kind": "multimodal",
            "min_padding": 4,
            "mask_probabilities": {"audio": 0.0, "image": 0.0, "label": 1.0},
            "modalities": {
                "audio": {
                    "kind": "waveform",
                    "samples_per_patch": AUDIO_PATCH,
                    "positions": audio,
                },
                "image": {"kind": "patches", "patch": 4, "frames": 1, "positions": image},
                "label": {"kind": "one_hot", "classes": 700},
            },
        },
        "trunk": _io(784, 512, 1, 8),
        "decoder": {
            "kind": "autoencoding",
            "outputs": 512,
            "label_channels": 1024,
            "min_padding": 2,
            "image": {
                "index_dims": (VIDEO_FRAMES, VIDEO_SIZE, VIDEO_SIZE),
                "positions": image,
            },
            "audio": {
                "samples": AUDIO_SAMPLES,
                "samples_per_patch": AUDIO_PATCH,
                "positions": audio,
            },
            "chunk": 16_384,
            "sampled": True,
            "attention": "structured",
            "block_size": 0,
        },
    }


def io_language_bytes() -> Fields:
    """Masked language model on UTF-8 bytes: 2,048 tokens, 256 latents of 1,280 channels."""
    trunk = _io(256, 1280, 1, 26)
    trunk.update(cross_heads=8, qk_channels=256, v_channels=1280)
    return {
        "inputs": {"kind": "text", "vocabulary": 262, "length": 2048, "width": 768},
        "trunk": trunk,
        "decoder": {
            "kind": "text",
            "length": 2048,
            "heads": 8,
            "qk_channels": 256,
            "v_channels": 768,
        },
    }


def _pixels(positions: Mapping[str, Any] | None = None) -> Fields:
    if positions is None:
        positions = {"bands": 64, "max_resolution": (224, 224)}
    return {"kind": "pixels", "channels": 3, "positions": dict(positions)}


def _sound() -> Fields:
    return {
        "kind": "waveform",
        "samples_per_patch": 128,
        "positions": {"bands": 64, "max_resolution": (480,)},
    }


def _mel() -> Fields:
    return {
        "kind": "pixels",
        "channels": 1,
        "modality": "audio",
        "positions": {"bands": 64, "max_resolution": (80, 60)},
    }


def _video_patches() -> Fields:
    return {
        "kind": "patches",
        "channels": 3,
        "patch": 8,
        "frames": 2,
        "modality": "video",
        "positions": {"bands": 16, "max_resolution": (16, 28, 28)},
    }


def _together(audio: Fields) -> Fields:
    return {
        "kind": "multimodal",
        "min_padding": 4,
        "modalities": {"audio": audio, "video": _video_patches()},
    }


def _original(
    cross_attends: int, self_attends: int, blocks: int | None = None, sharing: str = "paper"
) -> Fields:
    """The original Perceiver's trunk, 512 latents of 1,024 channels."""
    return {
        # Where it is not said, there is a block for every cross-attend.
        **({} if blocks is None else {"blocks": blocks}),
        "num_latents": 512,
        "latent_channels": 1024,
        "cross_attends": cross_attends,
        "self_attends_per_block": self_attends,
        "cross_heads": 1,
        "self_heads": 8,
        "sharing": sharing,
        "arrangement": "interleaved",
        "attention": "structured",
        "block_size": 0,
        "recompute": False,
    }


def _io(latents: int, channels: int, blocks: int, self_attends: int, heads: int = 8) -> Fields:
    """Perceiver IO's trunk: one cross-attend, then one block `blocks` times."""
    return {
        **_original(1, self_attends, blocks, sharing="all"),
        "num_latents": latents,
        "latent_channels": channels,
        "self_heads": heads,
    }


def _imagenet_io() -> Fields:
    """The trunk of Perceiver IO's models of ImageNet, which have memory to spare."""
    return {**_io(512, 1024, 8, 6), "keep_probabilities": True}


def _classified(residual: bool) -> Fields:
    return {"kind": "classification", "query_channels": 1024, "query_residual": residual}


def _flow(latents: int, self_attends: int) -> Fields:
    return {
        "inputs": {
            "kind": "frame_pair",
            "project": 64,
            "positions": {"bands": 64, "max_resolution": FLOW_SIZE},
        },
        "trunk": _io(latents, 512, 1, self_attends, heads=16),
        "decoder": {
            "kind": "flow",
            "divisor": 100.0,
            "scale": 20.0,
            "chunk": 0,
            "attention": "structured",
            "block_size": 0,
        },
    }


@dataclasses.dataclass(frozen=True)
class Preset:
    """A published model.

    Attributes:
      model: makes ``config.model``.
      outputs: classes that it was published with; 0 where it doesn't classify.
      inputs: number of inputs M. queries: number of outputs that are decoded at once.
      parameters, flops: as published (FLOPs of one example, multiplication and addition counted
        separately), None where they are not.
    """

    model: Callable[[], Fields]
    outputs: int
    inputs: int
    queries: int
    parameters: str | None = None
    flops: str | None = None


_PIXELS = 224 * 224
_FLOW_PIXELS = FLOW_SIZE[0] * FLOW_SIZE[1]
_VIDEO_INPUTS = AUDIO_SAMPLES // AUDIO_PATCH + VIDEO_FRAMES * (VIDEO_SIZE // 4) ** 2 + 1

PRESETS = {
    "imagenet": Preset(imagenet, 1000, _PIXELS, 0, "44.9 M", "707.2 B"),
    "imagenet_unshared": Preset(imagenet_unshared, 1000, _PIXELS, 0, "326.2 M", "707.2 B"),
    "imagenet_one_cross": Preset(imagenet_one_cross, 1000, _PIXELS, 0, "42.1 M", "404.3 B"),
    "imagenet_learned": Preset(imagenet_learned, 1000, _PIXELS, 0),
    "modelnet40": Preset(modelnet40, 40, 2048, 0),
    "audioset_raw": Preset(audioset_raw, 527, 480, 0),
    "audioset_mel": Preset(audioset_mel, 527, 4800, 0),
    "audioset_video": Preset(audioset_video, 527, 12_544, 0),
    "audioset_raw_video": Preset(audioset_raw_video, 527, 13_024, 0),
    "audioset_mel_video": Preset(audioset_mel_video, 527, 17_344, 0),
    "io_imagenet_fourier": Preset(io_imagenet_fourier, 1000, _PIXELS, 1, "48.4 M", "407 B"),
    "io_imagenet_learned": Preset(io_imagenet_learned, 1000, _PIXELS, 1, "62.3 M"),
    "io_imagenet_conv": Preset(io_imagenet_conv, 1000, 56 * 56, 1, "48.6 M", "369 B"),
    "io_flow": Preset(io_flow, 0, _FLOW_PIXELS, _FLOW_PIXELS),
    "io_flow_light": Preset(
        io_flow_light, 0, _FLOW_PIXELS, _FLOW_PIXELS, "27.9 M", "987 B"
    ),
    "io_kinetics_autoencoder": Preset(
        io_kinetics_autoencoder, 700, _VIDEO_INPUTS, 512 + 512 + 1, "20.0 M"
    ),
    "io_language_bytes": Preset(io_language_bytes, 0, 2048, 2048, "201 M", "113 B"),
}


def build(name: str, outputs: int | None = None) -> Perceiver:
    """The preset's model, with the number of classes that it was published with.

    Args:
      name: one of `PRESETS`. outputs: another number of classes.

    Raises:
      ValueError: an unknown name.
    """
    from tf_perceiver.model import perceiver

    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    preset = PRESETS[name]
    return perceiver.build(preset.model(), preset.outputs if outputs is None else outputs)


def measured(name: str) -> tuple[int, int]:
    """(parameters, FLOPs of one example) of a preset; no memory is taken for the parameters."""
    import tensorflow as tf

    from tf_perceiver.model import cost

    preset = PRESETS[name]
    with tf.Graph().as_default():
        model = build(name)
        parameters = sum(v.shape.num_elements() for v in model.trainable_variables)
        return parameters, cost.flops(model, preset.inputs, preset.queries)


def main(argv: list[str]) -> int:
    """Prints the table."""
    del argv
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "preset",
        "inputs",
        "parameters",
        "paper",
        "GFLOPs",
        "paper",
        box=box.SIMPLE_HEAD,
        title="FLOPs of one example, multiplication and addition counted separately",
        caption="io_language_bytes: 120.1 B by the formula of the others, where the paper prints "
        "113. io_kinetics_autoencoder: 19.86 M where it prints 20.0; FLOPs with 512 queries each.",
    )
    for column in table.columns:
        column.no_wrap = True
        column.justify = "left" if column is table.columns[0] else "right"
    for name, preset in PRESETS.items():
        parameters, flops = measured(name)
        table.add_row(
            name,
            f"{preset.inputs:,}",
            f"{parameters:,}",
            preset.parameters or "–",
            f"{flops / 1e9:,.1f}",
            re.sub(r"\s*B$", "", preset.flops or "–"),
        )
    Console().print(table)
    return 0


if __name__ == "__main__":
    from tf_perceiver import command_line

    command_line.run(main)
