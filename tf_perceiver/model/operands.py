"""The operands of the products between queries and a block of structured inputs.

Inputs and queries are laid out in the channels of factors.py so that logits are one matrix product,
or two where an input has many channels: ``wide`` ones, in the layer's own precision, and ``near``
ones, never below float32. Near are the thin channels, then a one, then one-hot channels for the
rows and columns of a tile (blocks.py). The query of the one shifts all logits of a row, and its sum
is the sum of the weights.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_perceiver.model.blocks import Blocks
from tf_perceiver.model.factors import Channels, Factors

# Up to so many wide channels are multiplied together with the near ones.
MERGED = 48

Parts = tuple[tf.Tensor, ...]
Named = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Operands:
    """How a segment's inputs, and the queries to it, are multiplied.

    Attributes:
      factors: the segment. blocks: how it is walked through.
      dtype: in which wide channels are multiplied.
    """

    factors: Factors
    blocks: Blocks
    dtype: tf.DType

    @property
    def merged(self) -> bool:
        """Whether there is one product."""
        exact = self.factors.grid is None and self.dtype == self.factors.mean.dtype
        return exact or self.factors.width <= MERGED

    @property
    def differentiable(self) -> Named:
        """What of the inputs can have a gradient, [B, M, C] each."""
        factors = self.factors
        named = {"content": factors.content, "positions": factors.positions}
        named |= {"mean": factors.mean, "scale": factors.scale}
        return {name: value for name, value in named.items() if value is not None}

    def block(self, inputs: Named, start: tf.Tensor, rows: int | None) -> Named:
        """The rows of a block of `inputs`, and of what never has a gradient."""
        named = dict(inputs)
        if self.factors.replaced is not None:
            named["token"] = self.factors.replaced
        if self.factors.refused is not None:
            named["refused"] = self.factors.refused
        return dict(zip(named, self.blocks.cut(list(named.values()), start, rows), strict=True))

    def inputs(self, block: Named, rows: int | None) -> Parts:
        """A block's inputs, [B, T, m, K] for each product; B is 1 where the examples share them."""
        mean, scale = block["mean"], block["scale"]
        wide = [(block[name] - mean) * scale for name in ("content", "positions") if name in block]
        numbers = {"scale": scale, "mean": mean * scale, "token": block.get("token")}
        thin = [numbers[name] for name in self.factors.thin_names]
        thin += [block["refused"]] if "refused" in block else []
        thin += [tf.ones_like(mean)]
        near = self._tiled([*wide, *thin] if self.merged else thin, rows)
        if self.factors.grid is not None:
            tiled_scale = self.blocks.to_tiles(scale, rows)
            hot = tiled_scale * self.blocks.one_hot(rows, scale.dtype)
            near = _joined([near, hot])
        if self.merged:
            return (near,)
        return tf.cast(self._tiled(wide, rows), self.dtype), near

    def queries(
        self,
        channels: Channels,
        shift: tf.Tensor,
        start: tf.Tensor,
        rows: int | None,
        refuse: bool = True,
    ) -> Parts:
        """The queries to a block, [B, T or 1, R, K] for each product.

        Args:
          channels: to all inputs; `inner` in tiles, see `in_tiles`.
          shift: [B, R, 1], added to all products of a row.
          start: first row of the block. rows: their number.
          refuse: whether what must not be looked at gets `MASKED_LOGIT`.
        """
        wide = [] if channels.wide is None else [channels.wide]
        thin = [] if channels.thin is None else [channels.thin]
        if self.factors.refused is not None:
            thin.append(tf.ones_like(shift) if refuse else tf.zeros_like(shift))
        thin.append(shift)
        near = [*wide, *thin] if self.merged else thin
        if channels.outer is not None:
            near.append(self._rows_of(channels.outer, start, rows))
        near = tf.concat(near, -1)[:, None]
        if channels.inner is not None:
            if self.blocks.tiles > 1:
                near = tf.repeat(near, self.blocks.tiles, 1)
            near = tf.concat([near, channels.inner], -1)
        return (near,) if self.merged else (tf.cast(wide[0], self.dtype)[:, None], near)

    def channels(self, sums: Parts, rows: int | None) -> tuple[Channels, tf.Tensor]:
        """Sums [B, T, R, K] of a block's inputs -> the same by channels, and the sum of the ones.

        `outer` is of the block's rows, `inner` in tiles.
        """
        near, inner, outer = sums[-1], None, None
        sizes = [
            self.factors.width if self.merged else 0,
            len(self.factors.thin_names),
            int(self.factors.refused is not None),
            1,
        ]
        if self.factors.grid is not None:
            near, inner = tf.split(near, [sum(sizes) + rows, self.blocks.columns], -1)
            sizes.append(rows)
        wide, thin, _, ones, *outer = tf.split(tf.reduce_sum(near, 1), sizes, -1)
        if not self.merged:
            wide = tf.reduce_sum(sums[0], 1)
        channels = Channels(
            wide if self.factors.width else None,
            thin if self.factors.thin_names else None,
            outer[0] if outer else None,
            inner,
        )
        return channels, ones

    def in_tiles(self, channels: Channels) -> Channels:
        """`inner` [B, R, I] -> [B, T, R, columns]."""
        if channels.inner is None:
            return channels
        batch, rows = tf.unstack(tf.shape(channels.inner))[:2]
        shape = [batch, rows, self.blocks.tiles, self.blocks.columns]
        inner = tf.transpose(tf.reshape(channels.inner, shape), [0, 2, 1, 3])
        static = channels.inner.shape
        inner = tf.ensure_shape(inner, [static[0], shape[2], static[1], shape[3]])
        return dataclasses.replace(channels, inner=inner)

    def out_of_tiles(self, channels: Channels) -> Channels:
        """The inverse of `in_tiles`."""
        if channels.inner is None:
            return channels
        inner = tf.transpose(channels.inner, [0, 2, 1, 3])
        batch, rows = tf.unstack(tf.shape(inner))[:2]
        inner = tf.reshape(inner, [batch, rows, self.blocks.inner])
        return dataclasses.replace(channels, inner=inner)

    def _tiled(self, parts: list[tf.Tensor], rows: int | None) -> tf.Tensor:
        return self.blocks.to_tiles(_joined(parts), rows)

    def _rows_of(self, outer: tf.Tensor, start: tf.Tensor, rows: int | None) -> tf.Tensor:
        if rows == self.blocks.outer:
            return outer
        shape = tf.shape(outer)
        piece = tf.slice(outer, [0, 0, start], [shape[0], shape[1], rows])
        return tf.ensure_shape(piece, [*outer.shape[:2], rows])


def product(queries: Parts, inputs: Parts, dtype: tf.DType) -> tf.Tensor:
    """[B, T, R, K] each, [B, T, m, K] each -> [B, T, R, m] in `dtype`."""
    products = [
        tf.cast(tf.matmul(q, x, transpose_b=True), dtype)
        for q, x in zip(queries, inputs, strict=True)
    ]
    return products[0] if len(products) == 1 else products[0] + products[1]


def _joined(parts: list[tf.Tensor]) -> tf.Tensor:
    """Concatenated along the channels; what the examples share is repeated where others aren't."""
    if len(parts) == 1:
        return parts[0]
    if any(part.shape[0] != parts[0].shape[0] for part in parts):
        own = next(part for part in parts if part.shape[0] != 1)
        like = tf.zeros_like(own[..., :1])
        parts = [part + like if part.shape[0] == 1 else part for part in parts]
    return tf.concat(parts, -1)
