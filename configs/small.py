"""``config.model`` for two CPU cores, and of seconds."""

from __future__ import annotations

from typing import Any


def small_pixels(
    tiny: bool,
    *,
    size: int,
    bands: int,
    latents: int,
    channels: int,
    self_attends: int,
    self_heads: int = 4,
    cross_attends: int = 2,
    cross_heads: int = 1,
    patch: int = 1,
) -> dict[str, Any]:
    """``config.model`` of an original Perceiver on small pictures, for two CPU cores.

    Args:
      tiny: a model of seconds instead; of the other fields only size counts.
      size: side of the pictures; also the resolution that the bands are spread over.
      bands: of the Fourier positions.
      latents, channels: N and D. self_attends: in each block.
      self_heads, cross_attends, cross_heads: counts.
      patch: side of the square of pixels that is one input.
    """
    return {
        "inputs": {
            **({"kind": "pixels"} if patch == 1 else {"kind": "patches", "patch": patch}),
            "channels": 3,
            "positions": {
                "bands": 4 if tiny else bands,
                "max_resolution": (size // patch, size // patch),
            },
        },
        "trunk": {
            "num_latents": 8 if tiny else latents,
            "latent_channels": 16 if tiny else channels,
            "cross_attends": 2 if tiny else cross_attends,
            "self_attends_per_block": 1 if tiny else self_attends,
            "cross_heads": cross_heads,
            "self_heads": 2 if tiny else self_heads,
            "sharing": "paper",
            "arrangement": "interleaved",
            "attention": "structured",
            "block_size": 0,
            "recompute": False,
        },
    }


def small_spectrograms(
    tiny: bool, *, frames: int, bins: int, bands: int, latents: int, channels: int
) -> dict[str, Any]:
    """``config.model`` of an original Perceiver on log-mel spectrograms, for two CPU cores.

    An input is a patch of 4 x 4 values.

    Args:
      tiny: a model of seconds instead; of the other fields only frames and bins count.
      frames, bins: of a spectrogram, multiples of 4.
      bands: of the Fourier positions.
      latents, channels: N and D.
    """
    model = small_pixels(
        tiny, size=frames, patch=4, bands=bands, latents=latents, channels=channels,
        self_attends=3, cross_attends=3, cross_heads=3,
    )  # fmt: skip
    model["inputs"].update(modality="audio", channels=1)
    model["inputs"]["positions"]["max_resolution"] = (frames // 4, bins // 4)
    if tiny:
        model["trunk"]["cross_heads"] = 1
    return model


def small_stays(
    tiny: bool, *, variables: int, width: int, knots: int, latents: int, channels: int
) -> dict[str, Any]:
    """``config.model`` of an original Perceiver on stays of 48 hours, for two CPU cores.

    Args:
      tiny: a model of seconds instead; of the other fields only variables counts.
      variables: number of them.
      width, knots: of a value's embedding.
      latents, channels: N and D.
    """
    return {
        "inputs": {
            "kind": "series",
            "variables": variables,
            "width": 8 if tiny else width,
            "knots": 5 if tiny else knots,
            "limit": 4.0,
            # The highest band turns once in four hours.
            "positions": {"bands": 4, "max_resolution": (24,)},
        },
        "trunk": {
            "num_latents": 4 if tiny else latents,
            "latent_channels": 16 if tiny else channels,
            "cross_attends": 2,
            "self_attends_per_block": 1,
            "cross_heads": 1,
            "self_heads": 2 if tiny else 4,
            "sharing": "paper",
            "arrangement": "interleaved",
            "attention": "structured",
            "block_size": 0,
            "recompute": False,
        },
    }
