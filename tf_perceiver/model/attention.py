"""The plain definition of the Perceiver's attention: the truth that every faster path must equal.

Reference: Perceiver (ICML 2021) section 3.1 and appendix C; DeepMind's ``perceiver/perceiver.py``.
Shapes: B batch, N queries or latents, M keys or inputs, h heads, C and D channels.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_perceiver.model.linear import MLP, LayerNorm, Linear, statistics_dtype

MASKED_LOGIT = -1e30


def attention_probabilities(
    q: tf.Tensor, k: tf.Tensor, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """Softmax over the keys of ``q . k / sqrt(d)``.

    Args:
      q: [B, h, N, d]. k: [B, h, M, d].
      mask: bool [B, N, M], True = keep, where N or M may be 1 to stand for all; masked logits are
        replaced, not added to.

    Returns:
      [B, h, N, M] in float32 at least. Rows with every key masked are uniform here; `attend`
      zeroes what they select.

    Raises:
      ValueError: a mask of another shape.
    """
    check_mask(mask, q.shape[-2], k.shape[-2])
    dtype = statistics_dtype(q.dtype)
    logits = tf.cast(tf.matmul(q * (q.shape[-1] ** -0.5), k, transpose_b=True), dtype)
    if mask is not None:
        logits = tf.where(mask[:, None], logits, tf.constant(MASKED_LOGIT, dtype))
    return tf.nn.softmax(logits)


def attend(
    q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """Multi-head dot-product attention.

    Args:
      q: [B, N, h, d]. k: [B, M, h, d]. v: [B, M, h, e]; d and e may differ.
      mask: bool [B, N, M] or None, True = keep; N or M may be 1 to stand for all.

    Returns:
      [B, N, h * e], head-major channels. Rows of which every key is masked are exactly zero.

    Raises:
      ValueError: a mask of another shape.
    """
    q, k, v = (tf.transpose(t, [0, 2, 1, 3]) for t in (q, k, v))
    probabilities = tf.cast(attention_probabilities(q, k, mask), v.dtype)
    selected = tf.transpose(tf.matmul(probabilities, v), [0, 2, 1, 3])
    batch, queries = tf.shape(selected)[0], tf.shape(selected)[1]
    heads, size = selected.shape[2:]
    selected = tf.reshape(selected, [batch, queries, heads * size])
    if mask is not None:
        any_key = tf.reduce_any(mask, -1, keepdims=True)
        selected = tf.where(any_key, selected, tf.zeros([], selected.dtype))
    return selected


def check_mask(mask: tf.Tensor | None, queries: int | None, keys: int | None) -> None:
    """Holds a mask's static shape against what it is for.

    Raises:
      ValueError: it is no bool [B, N, M] (or 1 for N or M).
    """
    if mask is None:
        return
    shape, dtype = tf.TensorShape(mask.shape), tf.as_dtype(mask.dtype)
    fits = shape.rank == 3 and all(
        size in (None, 1, wanted) or wanted is None
        for size, wanted in zip(shape[1:], (queries, keys), strict=True)
    )
    if not fits or dtype != tf.bool:
        raise ValueError(
            f"a mask of shape {shape} and {dtype.name} doesn't fit: bool [B, {queries}, {keys}] "
            f"is due, for {queries} queries and {keys} keys"
        )


def split_heads(x: tf.Tensor, heads: int) -> tf.Tensor:
    """[B, N, h * d] -> [B, N, h, d], the channel index being head * d + i."""
    return tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], heads, x.shape[-1] // heads])


class Attention(tf.keras.layers.Layer):
    """Multi-head attention with four biased projections.

    Args:
      name: prefix of the variable names.
      query_channels: Cq. key_channels: Ck.
      heads: h; must divide qk_channels and v_channels.
      qk_channels: width of queries and keys, default Cq.
      v_channels: width of the values, default qk_channels.
      output_channels: default v_channels.

    Raises:
      ValueError: heads do not divide qk_channels or v_channels.
    """

    def __init__(
        self,
        name: str,
        query_channels: int,
        key_channels: int,
        *,
        heads: int,
        qk_channels: int | None = None,
        v_channels: int | None = None,
        output_channels: int | None = None,
    ) -> None:
        super().__init__(name=name)
        qk_channels = query_channels if qk_channels is None else qk_channels
        v_channels = qk_channels if v_channels is None else v_channels
        output_channels = v_channels if output_channels is None else output_channels
        for field, channels in (("qk_channels", qk_channels), ("v_channels", v_channels)):
            if channels % heads:
                raise ValueError(
                    f"{name}: {field}={channels} can't be split into heads={heads}; "
                    f"choose heads that divide it"
                )
        self.heads = heads
        self.q = Linear(f"{name}.q", query_channels, qk_channels)
        self.k = Linear(f"{name}.k", key_channels, qk_channels)
        self.v = Linear(f"{name}.v", key_channels, v_channels)
        self.o = Linear(f"{name}.o", v_channels, output_channels)

    def call(self, queries: tf.Tensor, keys: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        """[B, N, Cq], [B, M, Ck], bool [B, N, M] -> [B, N, output_channels]."""
        q, k, v = (
            split_heads(project(x), self.heads)
            for project, x in ((self.q, queries), (self.k, keys), (self.v, keys))
        )
        return self.o(attend(q, k, v, mask))

    def probabilities(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """[B, N, Cq], [B, M, Ck] -> float32 [B, h, N, M]: where each query looks."""
        q, k = (
            tf.transpose(split_heads(project(x), self.heads), [0, 2, 1, 3])
            for project, x in ((self.q, queries), (self.k, keys))
        )
        return tf.cast(attention_probabilities(q, k), tf.float32)


class SelfAttention(tf.keras.layers.Layer):
    """One layer of the latent transformer, pre-norm: x += Attn(LN x); x += MLP(LN x).

    The encoder runs it as `latent.LatentBlock`, which equals it.

    Args:
      name: prefix of the variable names.
      channels: D.
      heads: h.
      widening: of the MLP.
      qk_channels, v_channels: widths inside the attention, default D.
    """

    def __init__(
        self,
        name: str,
        channels: int,
        *,
        heads: int,
        widening: int = 1,
        qk_channels: int | None = None,
        v_channels: int | None = None,
    ) -> None:
        super().__init__(name=name)
        self.ln = LayerNorm(f"{name}.ln", channels)
        self.attn = Attention(
            f"{name}.attn",
            channels,
            channels,
            heads=heads,
            qk_channels=qk_channels,
            v_channels=v_channels,
            output_channels=channels,
        )
        self.mlp_ln = LayerNorm(f"{name}.mlp_ln", channels)
        self.mlp = MLP(f"{name}.mlp", channels, widening)

    def call(self, x: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        """[B, N, D], bool [B, N, N] -> [B, N, D]."""
        normal = self.ln(x)
        x += self.attn(normal, normal, mask)
        return x + self.mlp(self.mlp_ln(x))


class CrossAttention(tf.keras.layers.Layer):
    """Queries read from a key-value array, pre-norm, then an MLP.

    Args:
      name: prefix of the variable names.
      query_channels: Cq, also the output width. key_channels: Ck.
      heads: h.
      widening: of the MLP.
      shape_for_attn: "kv" (the default, as in every published model: the inner width is Ck) or "q".
      qk_channels, v_channels: explicit inner widths; they win over shape_for_attn.
      query_residual: whether the un-normalised query is added to what attention gives.

    Raises:
      ValueError: an unknown shape_for_attn.
    """

    def __init__(
        self,
        name: str,
        query_channels: int,
        key_channels: int,
        *,
        heads: int = 1,
        widening: int = 1,
        shape_for_attn: str = "kv",
        qk_channels: int | None = None,
        v_channels: int | None = None,
        query_residual: bool = True,
    ) -> None:
        super().__init__(name=name)
        if shape_for_attn not in ("q", "kv"):
            raise ValueError(f"{name}: shape_for_attn={shape_for_attn!r} is neither 'q' nor 'kv'")
        if qk_channels is None:
            qk_channels = key_channels if shape_for_attn == "kv" else query_channels
        self.query_residual = query_residual
        self.q_ln = LayerNorm(f"{name}.q_ln", query_channels)
        self.kv_ln = LayerNorm(f"{name}.kv_ln", key_channels)
        self.attn = Attention(
            f"{name}.attn",
            query_channels,
            key_channels,
            heads=heads,
            qk_channels=qk_channels,
            v_channels=v_channels,
            output_channels=query_channels,
        )
        self.mlp_ln = LayerNorm(f"{name}.mlp_ln", query_channels)
        self.mlp = MLP(f"{name}.mlp", query_channels, widening)

    def call(
        self, queries: tf.Tensor, inputs: tf.Tensor, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """[B, N, Cq], [B, M, Ck], bool [B, N, M] -> [B, N, Cq]."""
        return self.finish(queries, self.attn(self.q_ln(queries), self.kv_ln(inputs), mask))

    def finish(
        self,
        queries: tf.Tensor | None,
        attended: tf.Tensor,
        mlp: Callable[[tf.Tensor], tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """What follows attention: the residual of the un-normalised queries, and the MLP.

        Args:
          queries: not needed without a query residual.
          attended: what the attention gave.
          mlp: to be called in place of this layer's norm and MLP, and equal to them.
        """
        x = attended + queries if self.query_residual else attended
        return x + (self.mlp(self.mlp_ln(x)) if mlp is None else mlp(x))

    def probabilities(self, queries: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        """[B, N, Cq], [B, M, Ck] -> float32 [B, h, N, M]."""
        return self.attn.probabilities(self.q_ln(queries), self.kv_ln(inputs))
