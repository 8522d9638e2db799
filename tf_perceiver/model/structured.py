"""Cross-attention at a fraction of its cost, equal to the plain definition in attention.py.

Folded projections: with normalised inputs x^ = (x - mean) / std, a head's logits are
``(W_k (gamma x^ + beta) + b_k) . q = x^ . q^ + const``, where ``q^ = gamma (W_k q)`` lives in input
channels and the constant drops out of the softmax. Likewise the values' projection can follow the
weighted sum: ``sum_m a_m (W_v (gamma x^_m + beta) + b_v) = W_v (gamma (A x^) + beta) + b_v``. So no
key or value of the M inputs is ever made, and x^ is the same for every cross-attend of a pass.
The key bias has a gradient of exactly zero.
"""

from __future__ import annotations

import tensorflow as tf

from tf_perceiver.model.attention import CrossAttention, attention_probabilities, split_heads
from tf_perceiver.model.linear import depending_on


def prefers_folding(inputs: int | None, latents: int, layer: CrossAttention) -> bool:
    """Whether folding needs fewer multiplications than projecting, by a static count.

    Plain: keys and values of M inputs (2 M C F) and products of N x M x F; folded: projections of
    N x h queries instead, and products of N x M x C for each head.

    Args:
      inputs: M, or None where it isn't static. latents: N.
    """
    # Both sides grow with M, so an unknown M is decided as if it were large.
    inputs = 1 << 20 if inputs is None else inputs
    attn = layer.attn
    width = (attn.k.outputs + attn.v.outputs) / 2
    channels = attn.k.inputs
    plain = 2 * inputs * channels * width + 2 * latents * inputs * width
    folded = 2 * attn.heads * latents * inputs * channels + 2 * latents * channels * width
    return folded < plain


def folded_cross_attention(
    layer: CrossAttention,
    queries: tf.Tensor,
    normalised: tf.Tensor,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """`layer(queries, inputs, mask)`, from inputs that are normalised already.

    Args:
      layer: whose weights are used.
      queries: [B, N, Cq].
      normalised: [B, M, C], `layer.kv_ln.normalise(inputs)`: without scale and offset.
      mask: bool [B, N, M] or None, True = keep; N or M may be 1 to stand for all.

    Returns:
      [B, N, Cq].
    """
    attn = layer.attn
    gamma, beta = layer.kv_ln.gamma, layer.kv_ln.beta
    channels = attn.k.inputs
    dtype = queries.dtype
    gamma, beta = tf.cast(gamma, dtype), tf.cast(beta, dtype)

    q = depending_on(attn.q(layer.q_ln(queries)), tf.convert_to_tensor(attn.k.bias))
    q = split_heads(q, attn.heads)  # [B, N, h, d]
    size = q.shape[-1]
    key_kernel = tf.reshape(tf.cast(attn.k.kernel, dtype), [channels, attn.heads, size])
    q = tf.einsum("bnhd,chd->bhnc", q, key_kernel) * gamma  # In input channels.
    # attention_probabilities divides by sqrt(C); the head's own size is what the paper divides by.
    q *= (channels / size) ** 0.5
    probabilities = attention_probabilities(q, normalised[:, None], mask)
    summed = tf.matmul(tf.cast(probabilities, dtype), normalised[:, None])  # [B, h, N, C]
    summed = summed * gamma + beta

    value_kernel = tf.reshape(tf.cast(attn.v.kernel, dtype), [channels, attn.heads, -1])
    selected = tf.einsum("bhnc,che->bnhe", summed, value_kernel)
    width = attn.v.outputs
    shape = tf.concat([tf.shape(selected)[:2], [width]], 0)
    selected = tf.reshape(selected, shape) + tf.cast(attn.v.bias, dtype)
    if mask is not None:  # Rows that may see nothing select nothing, offset and bias included.
        any_key = tf.reduce_any(mask, -1, keepdims=True)
        selected = tf.where(any_key, selected, tf.zeros([], dtype))
    return layer.finish(queries, attn.o(selected))
