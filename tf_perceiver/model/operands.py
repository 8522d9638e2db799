"""The operands of the products between queries and a block of structured inputs.

Inputs and queries are laid out in the channels of factors.py so that logits are one matrix product,
or two: one of many ``wide`` channels in the layer's own precision, and one of the ``near`` ones,
never below float32. Near are the thin channels, then a one, then one-hot channels for the
columns and rows of a tile (blocks.py). The query of the one shifts all logits of a row, and its sum
is the sum of the weights.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_perceiver.model.blocks import Blocks
from tf_perceiver.model.factors import Channels, Factors
from tf_perceiver.model.linear import statistics_dtype

# Up to so many wide channels are multiplied together with the near ones of every tile.
MERGED = 48
# From so many wide channels on, passes over the logits are cheaper than a product for every input.
APART = 128

Parts = tuple[tf.Tensor, ...]
Named = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Operands:
    """How a segment's inputs, and the queries to it, are multiplied.

    Attributes:
      factors: the segment. blocks: how it is walked through.
      dtype: in which wide channels are multiplied.
      at_once: whether there is to be one product, however many the wide channels are, if precision
        allows it: a second one takes another pass over all logits.
    """

    factors: Factors
    blocks: Blocks
    dtype: tf.DType
    at_once: bool = False

    @property
    def merged(self) -> bool:
        """Whether there is one product."""
        exact = self.dtype == self.factors.mean.dtype
        return self.factors.width <= MERGED or (
            exact and (self.at_once or self.factors.grid is None)
        )

    @property
    def differentiable(self) -> Named:
        """What of the inputs has a gradient, [B, M, C] each.

        TensorFlow would leave out what of it nobody uses, but not across a call of a function.
        """
        factors = self.factors
        named = {}
        if factors.learned:
            named = {"content": factors.content, "positions": factors.positions}
        if factors.learned or factors.pad is not None:
            named |= {"mean": factors.mean, "scale": factors.scale}
        return {name: value for name, value in named.items() if value is not None}

    def block(self, inputs: Named, start: tf.Tensor, rows: int | None) -> Named:
        """The rows of a block: those of `inputs`, and of all that has no gradient."""
        factors = self.factors
        named = {"content": factors.content, "positions": factors.positions}
        named |= {"mean": factors.mean, "scale": factors.scale}
        named |= {"token": factors.replaced, "refused": factors.refused} | inputs
        named = {name: value for name, value in named.items() if value is not None}
        return dict(zip(named, self.blocks.cut(list(named.values()), start, rows), strict=True))

    @property
    def apart(self) -> bool:
        """Whether gradients to the statistics of inputs are had from the logits.

        Content that was never learned needs none itself, but where a segment is padded with learned
        numbers its statistics do: that shouldn't cost as much as if it was learned.
        """
        return self.factors.width >= APART and "scale" in self.differentiable

    def inputs(self, block: Named, rows: int | None, constant: bool = False) -> Parts:
        """A block's inputs, [B, T, m, K] for each product; B is 1 where the examples share them.

        Args:
          block: see `block`. rows: of it.
          constant: whether the statistics of the first product's inputs are to have no gradient.
        """
        mean, scale = near_mean, near_scale = block["mean"], block["scale"]
        if constant:
            mean, scale = tf.stop_gradient(mean), tf.stop_gradient(scale)
        wide = [(block[name] - mean) * scale for name in ("content", "positions") if name in block]
        if not self.merged:
            mean, scale = near_mean, near_scale
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
          channels: to all inputs; `inner` as `in_place` has it.
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
        if channels.inner is not None and self.blocks.tiles == 1:
            near += [channels.inner[:, 0], self._rows_of(channels.outer, start, rows)]
        elif channels.inner is not None:
            near.append(tf.zeros_like(channels.inner[:, 0, :, : self.blocks.columns]))
            near.append(self._rows_of(channels.outer, start, rows))
        near = tf.concat(near, -1)[:, None]
        if channels.inner is not None and self.blocks.tiles > 1:
            near += channels.inner[..., : near.shape[-1]]
        return (near,) if self.merged else (tf.cast(wide[0], self.dtype)[:, None], near)

    def in_place(self, channels: Channels) -> Channels:
        """Queries whose `inner` [B, T, R, columns] stands between zeros, where products need it.

        A block's other channels are added to it: one pass over the queries of all tiles.
        """
        if self.blocks.tiles == 1:
            return channels
        before, after = self._columns_at, self.blocks.rows
        inner = tf.pad(channels.inner, [[0, 0], [0, 0], [0, 0], [before, after]])
        return dataclasses.replace(channels, inner=inner)

    def no_sums(self, column: tf.Tensor) -> Parts:
        """Sums [B, T, R, K] over no inputs, for a column [B, R, 1] of zeros."""
        wide, near = self.factors.width, self._columns_at
        if self.factors.grid is not None:
            near += self.blocks.columns + self.blocks.rows
        shapes = [near] if self.merged else [wide, near]
        tiles = [self.blocks.tiles] if self.merged else [1, self.blocks.tiles]
        return tuple(
            column[:, None] + tf.zeros([1, t, 1, k], column.dtype)
            for t, k in zip(tiles, shapes, strict=True)
        )

    def add(self, total: Parts, sums: Parts, rows: int | None) -> Parts:
        """Sums over a block of `rows` rows added to those over others."""
        if not self.merged:  # Only the near ones have tiles.
            sums = (tf.reduce_sum(sums[0], 1, keepdims=True), sums[1])
        if self.factors.grid is not None and rows != self.blocks.rows:
            missing = self.blocks.rows - rows
            sums = (*sums[:-1], tf.pad(sums[-1], [[0, 0], [0, 0], [0, 0], [0, missing]]))
        return tuple(old + new for old, new in zip(total, sums, strict=True))

    def ones(self, sums: Parts) -> tf.Tensor:
        """Of sums [B, T, R, K], that of the ones, [B, T, R, 1]: of the weights themselves."""
        one = self._columns_at - 1
        return sums[-1][..., one : one + 1]

    def to_statistics(self, queries: Parts) -> tf.Tensor:
        """What of the queries meets the statistics of the first product's inputs, [B, T, R, 2].

        First what isn't multiplied by their scale, then what meets scale * mean.
        """
        first, width = queries[0], self.factors.width
        first = tf.cast(first, statistics_dtype(first.dtype))
        of_mean = -tf.reduce_sum(first[..., :width], -1, keepdims=True)
        if not self.merged:
            return tf.concat([tf.zeros_like(of_mean), of_mean], -1)
        names, one = self.factors.thin_names, self._columns_at - 1
        if "mean" in names:
            at = width + names.index("mean")
            of_mean += first[..., at : at + 1]
        return tf.concat([first[..., one : one + 1], of_mean], -1)

    def outer(self, sums: Parts, rows: int) -> tf.Tensor:
        """Of sums over a block, those by row: [B, R, rows]."""
        # Summed as a whole, for a slice would be a copy.
        return tf.reduce_sum(sums[-1], 1)[..., -rows:]

    def channels(self, sums: Parts) -> tuple[Channels, tf.Tensor]:
        """Sums [B, T, R, K] over all blocks -> the same by channels, and the sum of the ones.

        Without `outer`, which every block has for itself; `inner` in tiles.
        """
        near, inner = sums[-1], None
        sizes = [
            self.factors.width if self.merged else 0,
            len(self.factors.thin_names),
            int(self.factors.refused is not None),
            1,
        ]
        if self.factors.grid is not None:
            near, inner, _ = tf.split(near, [sum(sizes), self.blocks.columns, self.blocks.rows], -1)
        wide, thin, _, ones = tf.split(tf.reduce_sum(near, 1), sizes, -1)
        if not self.merged:
            wide = tf.reduce_sum(sums[0], 1)
        channels = Channels(
            wide if self.factors.width else None,
            thin if self.factors.thin_names else None,
            None,
            inner,
        )
        return channels, ones

    @property
    def _columns_at(self) -> int:
        """Where among the near channels those of a tile's columns begin, right after the one."""
        wide = self.factors.width if self.merged else 0
        return wide + len(self.factors.thin_names) + int(self.factors.refused is not None) + 1

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


def products(queries: Parts, inputs: Parts, dtype: tf.DType) -> Parts:
    """[B, T, R, K] each, [B, T, m, K] each -> [B, T, R, m] each in `dtype`, to be added."""
    return tuple(
        tf.cast(tf.matmul(q, x, transpose_b=True), dtype)
        for q, x in zip(queries, inputs, strict=True)
    )


def product(queries: Parts, inputs: Parts, dtype: tf.DType) -> tf.Tensor:
    """[B, T, R, K] each, [B, T, m, K] each -> [B, T, R, m] in `dtype`."""
    return added(products(queries, inputs, dtype))


def added(parts: Parts) -> tf.Tensor:
    """The sum of one or two products."""
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _joined(parts: list[tf.Tensor]) -> tf.Tensor:
    """Concatenated along the channels; what the examples share is repeated where others aren't."""
    if len(parts) == 1:
        return parts[0]
    if any(part.shape[0] != parts[0].shape[0] for part in parts):
        own = next(part for part in parts if part.shape[0] != 1)
        like = tf.zeros_like(own[..., :1])
        parts = [part + like if part.shape[0] == 1 else part for part in parts]
    return tf.concat(parts, -1)
