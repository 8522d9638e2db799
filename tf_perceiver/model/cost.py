"""FLOPs of a model by the plain definition: multiplications and additions counted separately.

The papers' convention, so that the figures compare. Layer norms, softmax, GELU, additions and
position features are not counted. What structured.py saves is not taken off: this is the useful
work, by which speeds are compared.
"""

from __future__ import annotations

import math

from tf_perceiver.model.attention import Attention, CrossAttention, SelfAttention
from tf_perceiver.model.linear import MLP, Linear
from tf_perceiver.model.perceiver import Perceiver
from tf_perceiver.model.preprocessors import ConvStem, Multimodal, Preprocessor


def linear(layer: Linear, rows: int) -> int:
    """FLOPs of `rows` vectors through a linear."""
    return 2 * rows * layer.inputs * layer.outputs


def mlp(layer: MLP, rows: int) -> int:
    """FLOPs of `rows` vectors through an MLP."""
    return linear(layer.fc1, rows) + linear(layer.fc2, rows)


def attention(layer: Attention, queries: int, keys: int) -> int:
    """FLOPs of the projections and of the two products with the attention matrix."""
    projections = linear(layer.q, queries) + linear(layer.o, queries)
    projections += linear(layer.k, keys) + linear(layer.v, keys)
    return projections + 2 * queries * keys * (layer.q.outputs + layer.v.outputs)


def cross_attend(layer: CrossAttention, queries: int, inputs: int) -> int:
    """FLOPs of a cross-attention layer with its MLP."""
    return attention(layer.attn, queries, inputs) + mlp(layer.mlp, queries)


def self_attend(layer: SelfAttention, latents: int) -> int:
    """FLOPs of a layer of the latent transformer."""
    return attention(layer.attn, latents, latents) + mlp(layer.mlp, latents)


def trunk(model: Perceiver, inputs: int) -> int:
    """FLOPs of all cross-attends and blocks, for M inputs of one example."""
    encoder = model.encoder
    latents = encoder.latents.shape[0]
    total = 0
    for kind, i in encoder.steps:
        if kind == "cross":
            total += cross_attend(encoder.cross[encoder.plan.cross[i]], latents, inputs)
        else:
            block = encoder.blocks[encoder.plan.blocks[i]]
            total += sum(self_attend(layer, latents) for layer in block)
    return total


def preprocessing(layer: Preprocessor | Multimodal, inputs: int) -> int:
    """FLOPs of projections and convolutions, for M inputs of one example."""
    if isinstance(layer, Multimodal):
        return 0  # No published multimodal model projects its inputs.
    kernels = [v for v in layer.weights if v.name.endswith(".kernel:0")]
    total = sum(2 * inputs * math.prod(kernel.shape) for kernel in kernels)
    if isinstance(layer, ConvStem):
        # Each convolution has four positions for each of its pooled ones, and a later layer
        # sixteen times fewer.
        total = 0
        for i, kernel in enumerate(layer.kernels):
            rows = inputs * 4 ** (2 * (len(layer.kernels) - i) - 1)
            total += 2 * rows * math.prod(kernel.shape)
    return total


def decoding(model: Perceiver, queries: int) -> int:
    """FLOPs of the head, or of a decoder that is asked `queries` for one example.

    Post-processors, and the product with a tied embedding, are not counted.
    """
    decoder, latents = model.decoder, model.encoder.latents.shape[0]
    if not hasattr(decoder, "decoding"):
        return linear(decoder.logits, 1)
    total = cross_attend(decoder.decoding.cross, queries, latents)
    if decoder.decoding.out is not None:
        total += linear(decoder.decoding.out, queries)
    return total


def flops(model: Perceiver, inputs: int, queries: int = 0) -> int:
    """FLOPs of one example's forward pass.

    Args:
      model: built, with or without memory for its variables.
      inputs: M. queries: asked of the decoder; 0 for the averaging head.
    """
    before = preprocessing(model.preprocessor, inputs)
    return before + trunk(model, inputs) + decoding(model, queries)
