"""How the M inputs are walked through: in blocks of bounded size, and a grid's blocks in tiles.

Position features of a grid are a sum over its axes, so what the positions in a tile of ``rows x
columns`` inputs add to the logits lies in a space of ``rows + columns`` dimensions, however many
features a position has. Within a tile, one-hot channels stand for its rows and columns: one thin
matrix product gives the logits, another the sums by row and by column.

Whatever belongs to the inputs is [B, M, C] here, or [1, M, C] where the examples share it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import tensorflow as tf

# Logits of a block, over all examples and heads. A few times this is alive at a time: larger blocks
# fall out of a CPU's caches, smaller ones are dominated by the cost of starting operations. Where
# queries are many, a block has `BLOCK_INPUTS` all the same, up to `MOST_LOGITS`: products of few
# rows are slow.
BLOCK_LOGITS = 2**21
BLOCK_INPUTS = 2**11
MOST_LOGITS = 2**23
# What starting a block's operations takes, as so many multiplications for each of its logits, times
# its inputs.
STARTING = 25_000
# A CPU multiplies so many of a tile's inputs at a time; what is left over takes as long as these.
VECTOR = 16

State = tuple[tf.Tensor, ...]
Body = Callable[[tf.Tensor, int, State], tuple[State, State]]


@dataclasses.dataclass(frozen=True)
class Blocks:
    """A walk over the inputs, some rows at a time.

    Attributes:
      outer: number of rows; None where it isn't static, and then there is one block.
      inner: inputs in a row; 1 where the inputs are no grid.
      rows: of a block.
      columns: of a tile; they divide `inner`.
    """

    outer: int | None
    inner: int
    rows: int | None
    columns: int

    @property
    def tiles(self) -> int:
        """Tiles of a block."""
        return self.inner // self.columns

    def cut(self, tensors: Sequence[tf.Tensor], start: tf.Tensor, rows: int) -> list[tf.Tensor]:
        """`rows` rows of each [B, M, C], from row `start` on."""
        if rows == self.outer:
            return list(tensors)
        pieces = []
        for tensor in tensors:
            shape = tf.shape(tensor)
            size = [shape[0], rows * self.inner, shape[2]]
            piece = tf.slice(tensor, [0, start * self.inner, 0], size)
            pieces.append(tf.ensure_shape(piece, [tensor.shape[0], size[1], tensor.shape[2]]))
        return pieces

    def to_tiles(self, x: tf.Tensor, rows: int) -> tf.Tensor:
        """[B, rows * inner, C] -> [B, tiles, rows * columns, C]."""
        if self.tiles == 1:
            return x[:, None]
        batch, channels = tf.shape(x)[0], x.shape[-1]
        tiled = tf.reshape(x, [batch, rows, self.tiles, self.columns * channels])
        tiled = tf.transpose(tiled, [0, 2, 1, 3])
        tiled = tf.reshape(tiled, [batch, self.tiles, rows * self.columns, channels])
        return tf.ensure_shape(tiled, [x.shape[0], *tiled.shape[1:]])

    def from_tiles(self, x: tf.Tensor, rows: int) -> tf.Tensor:
        """The inverse of `to_tiles`."""
        if self.tiles == 1:
            return x[:, 0]
        batch, channels = tf.shape(x)[0], x.shape[-1]
        flat = tf.reshape(x, [batch, self.tiles, rows, self.columns * channels])
        flat = tf.transpose(flat, [0, 2, 1, 3])
        flat = tf.reshape(flat, [batch, rows * self.inner, channels])
        return tf.ensure_shape(flat, [x.shape[0], *flat.shape[1:]])

    def one_hot(self, rows: int, dtype: tf.DType) -> tf.Tensor:
        """[rows * columns, columns + rows]: in which column and row of its tile an input lies."""
        row = tf.repeat(tf.eye(rows, dtype=dtype), self.columns, 0)
        column = tf.tile(tf.eye(self.columns, dtype=dtype), [rows, 1])
        return tf.concat([column, row], 1)

    @property
    def count(self) -> int:
        """Number of blocks."""
        return 1 if self.outer is None else -(-self.outer // self.rows)

    def walk(
        self, body: Body, state: State, outputs: Sequence[tf.TensorSpec]
    ) -> tuple[State, State]:
        """Calls `body` on block after block, never on two at a time.

        Args:
          body: (first row, number of rows, state) -> (state, outputs of these rows).
          state: what the first block gets.
          outputs: of a single row, [B, n, C].

        Returns:
          The last state, and the outputs of all rows, [B, outer * n, C]. What of them nobody uses
          costs nothing in a graph: it is pruned out of the loop.
        """
        if self.outer is None or self.rows >= self.outer:
            return body(tf.constant(0), self.outer, state)
        whole, rest = divmod(self.outer, self.rows)
        arrays = tuple(
            tf.TensorArray(spec.dtype, whole, element_shape=_times(spec.shape, self.rows))
            for spec in outputs
        )

        def step(i: tf.Tensor, state: State, arrays: tuple) -> tuple:
            state, parts = body(i * self.rows, self.rows, state)
            return i + 1, state, tuple(a.write(i, p) for a, p in zip(arrays, parts, strict=True))

        _, state, arrays = tf.while_loop(
            lambda i, *_: i < whole,
            step,
            (tf.constant(0), state, arrays),
            parallel_iterations=1,
            maximum_iterations=whole,
        )
        joined = []
        for array, spec in zip(arrays, outputs, strict=True):
            stacked = tf.transpose(array.stack(), [1, 0, 2, 3])
            shape = _times(spec.shape, self.rows * whole)
            flat = tf.reshape(stacked, [tf.shape(stacked)[0], *shape[1:]])
            joined.append(tf.ensure_shape(flat, shape))
        if rest:
            state, parts = body(tf.constant(whole * self.rows), rest, state)
            joined = [tf.concat(pair, 1) for pair in zip(joined, parts, strict=True)]
        return state, tuple(joined)


def _times(shape: tf.TensorShape, rows: int) -> list[int | None]:
    """[B, n, C] of a row -> [B, rows * n, C]."""
    return [shape[0], shape[1] * rows, shape[2]]


def choose(
    grid: tuple[int, int] | None, inputs: int | None, lanes: int, width: int = 0, size: int = 0
) -> Blocks:
    """Blocks for given shapes.

    Args:
      grid: (rows, columns) of the inputs, or None where they are no grid.
      inputs: M, or None where it isn't static.
      lanes: queries that look at each input: examples x heads x latents.
      width: channels of an input that a tile's queries have too.
      size: logits of a block, over all lanes; 0 for the default.
    """
    default = max(BLOCK_LOGITS // lanes, min(BLOCK_INPUTS, MOST_LOGITS // lanes))
    wanted = max(1, size // lanes if size else default)  # Inputs of a block.
    if grid is None:
        if inputs is None:
            return Blocks(None, 1, None, 1)
        return Blocks(inputs, 1, _near_divisor(inputs, wanted), 1)
    outer, inner = grid
    most = min(outer, max(1, wanted // inner))

    def cost(tile: tuple[int, int]) -> float:
        """Multiplications for a logit: channels, times what a tile's copies of queries cost."""
        rows, columns = tile
        channels = rows + columns + 8 + width
        inputs = rows * columns
        left_over = -inputs % VECTOR / inputs
        return channels * (1 + left_over + (16 + width) / inputs) + STARTING / (rows * inner)

    rows = {*_divisors(outer, most), _near_divisor(outer, most)}
    tiles = itertools.product(sorted(rows), _divisors(inner, inner))
    return Blocks(outer, inner, *min(tiles, key=cost))


def _divisors(number: int, most: int) -> list[int]:
    return [divisor for divisor in range(1, most + 1) if number % divisor == 0]


def _near_divisor(number: int, wanted: int) -> int:
    """A divisor of `number` a little below `wanted` if there is one, else `wanted`."""
    if wanted >= number:
        return number
    for divisor in range(wanted, math.ceil(0.6 * wanted) - 1, -1):
        if number % divisor == 0:
            return divisor
    return wanted
