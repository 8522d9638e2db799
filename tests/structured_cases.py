"""Random byte arrays of every kind, for the tests of the structured cross-attention."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tf_perceiver.model.attention import CrossAttention
from tf_perceiver.model.byte_array import ByteArray, Segment
from tf_perceiver.model.positions import Fourier, FourierGrid

KINDS = ("grid", "table", "points", "added", "label")


@st.composite
def segments(draw, kinds=KINDS):
    """Fields of a segment: its kind, its grid, its content's channels, whether there is a token."""
    kind = draw(st.sampled_from(kinds))
    axes = draw(st.integers(1, 3)) if kind == "grid" else 1
    return {
        "kind": kind,
        "dims": tuple(draw(st.integers(1, 7)) for _ in range(axes)),
        "content": draw(st.sampled_from([0, 1, 3, 50, 130] if kind == "grid" else [1, 3, 130])),
        "token": draw(st.booleans()),
    }


@dataclasses.dataclass
class Case:
    """A layer, its queries, and a byte array made of `sources`, which have gradients.

    Attributes:
      layer: cross-attention. queries: [B, N, Cq]. sources: everything that is learned, by name.
    """

    layer: CrossAttention
    queries: tf.Tensor
    sources: dict[str, tf.Tensor]
    _segments: list[dict]
    _masked: list[tf.Tensor | None]
    mask: tf.Tensor | None

    def array(self, sources: dict[str, tf.Tensor]) -> ByteArray:
        """The byte array of these sources."""
        parts = []
        for i, (fields, masked) in enumerate(zip(self._segments, self._masked, strict=True)):
            positions = fields.get("grid")
            if positions is None:
                positions = sources.get(f"{i}.positions")
            parts.append(
                Segment(
                    sources.get(f"{i}.content"),
                    positions,
                    added=fields["kind"] == "added",
                    pad=sources.get(f"{i}.pad"),
                    token=sources.get(f"{i}.token"),
                    masked=masked,
                )
            )
        return ByteArray(tuple(parts), self.mask)


def make(
    described: list[dict],
    dtype: str,
    *,
    batch: int = 2,
    latents: int = 4,
    heads: int = 1,
    masked: bool = False,
    residual: bool = True,
    seed: int = 0,
) -> Case:
    """A case; its first example may see nothing where `masked`."""
    rng = np.random.default_rng(seed)

    def values(*shape: int) -> tf.Tensor:
        return tf.constant(rng.normal(size=shape), tf.as_dtype(dtype))

    widths, built = [], []
    for fields in described:
        fields = dict(fields)
        if fields["kind"] == "grid":
            encoding = Fourier(2, tuple(6 for _ in fields["dims"]))
            fields["grid"] = FourierGrid(encoding, fields["dims"])
        own = {"grid": fields["content"], "table": fields["content"] + 4, "points": 5}
        own |= {"added": fields["content"], "label": fields["content"] + 1}
        width = own[fields["kind"]]
        widths.append(width + (fields["grid"].shape[1] if "grid" in fields else 0))
        built.append(fields)
    common = max(widths) + 1
    sources, flags = {}, []
    for i, (fields, width) in enumerate(zip(built, widths, strict=True)):
        count, content = math.prod(fields["dims"]), fields["content"]
        match fields["kind"]:
            case "grid" if content:
                sources[f"{i}.content"] = values(batch, count, content)
            case "grid" if not i and batch > 1:
                pass  # Shared by the examples: another segment tells how many there are.
            case "table":
                sources[f"{i}.content"] = values(batch, count, content)
                sources[f"{i}.positions"] = values(count, 4)
            case "points":
                sources[f"{i}.positions"] = values(batch, count, 5)
            case "added":
                sources[f"{i}.content"] = values(batch, count, content)
                sources[f"{i}.positions"] = values(count, content)
            case "label":
                sources[f"{i}.content"] = values(batch, count, content + 1)
        sources[f"{i}.pad"] = values(1, common - width)
        flags.append(None)
        if fields["token"] or (fields["kind"] == "grid" and not content):
            sources[f"{i}.token"] = values(1, common)
            flags[-1] = tf.constant(rng.uniform(size=(batch, count)) < 0.3)
    total = sum(math.prod(fields["dims"]) for fields in built)
    mask = None
    if masked:
        keep = rng.uniform(size=(batch, total)) < 0.6
        keep[0] = False
        mask = tf.constant(keep)
    layer = CrossAttention(
        "c",
        6,
        common,
        heads=heads,
        qk_channels=3 * heads,
        v_channels=2 * heads,
        query_residual=residual,
    )
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape) * 0.5)
    return Case(layer, values(batch, latents, 6), sources, built, flags, mask)
