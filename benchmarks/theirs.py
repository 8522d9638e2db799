"""A worker that runs another implementation; its interpreter has torch and nothing of TensorFlow.

`python -m benchmarks.theirs '{"model": "transformers", "precision": "float32", "threads": 2}'`
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import perceiver_pytorch
import torch
import transformers

from benchmarks import worker

CLASSES, SIZE, CHANNELS = 1000, 224, 3
# {precision: the dtype of weights and inputs}; "mixed" casts what autocast does.
DTYPES = {"float32": torch.float32, "mixed": torch.float32, "bfloat16": torch.bfloat16}
INPUT_WIDTH = CHANNELS + 2 * (2 * 64 + 1)  # of the byte array: 64 bands an axis


def transformers_fourier(small: bool) -> tuple[torch.nn.Module, tuple[int, ...]]:
    """Perceiver IO with Fourier positions; as published, but for dropout, which the paper has not.

    Returns:
      The model, and the shape of its input: channels first. Its grid can't be made smaller.
    """
    sizes = {"num_latents": 8, "d_latents": 32, "num_blocks": 1, "num_self_attends_per_block": 1}
    config = transformers.PerceiverConfig(
        **(
            sizes
            if small
            else {
                "num_latents": 512,
                "d_latents": 1024,
                "num_blocks": 8,
                "num_self_attends_per_block": 6,
            }
        ),
        d_model=INPUT_WIDTH,
        num_self_attention_heads=8,
        num_cross_attention_heads=1,
        attention_probs_dropout_prob=0.0,
        image_size=SIZE,
        num_labels=CLASSES,
    )
    return transformers.PerceiverForImageClassificationFourier(config), (CHANNELS, SIZE, SIZE)


def perceiver_pytorch_imagenet(small: bool) -> tuple[torch.nn.Module, tuple[int, ...]]:
    """The original Perceiver with 8 cross-attends, as near to the paper's as its arguments allow.

    The widths inside attention are the paper's (261 reading pixels, 8 x 128 among latents). Its
    MLPs are gated and four times as wide, which can't be chosen. Tied layers: the first block has
    weights of its own, the other seven share theirs.

    Returns:
      The model, and the shape of its input: channels last.
    """
    side = 16 if small else SIZE
    model = perceiver_pytorch.Perceiver(
        num_freq_bands=64,
        max_freq=SIZE,
        input_channels=CHANNELS,
        input_axis=2,
        depth=2 if small else 8,
        num_latents=8 if small else 512,
        latent_dim=32 if small else 1024,
        cross_heads=1,
        latent_heads=8,
        cross_dim_head=INPUT_WIDTH,
        latent_dim_head=4 if small else 128,
        num_classes=CLASSES,
        self_per_cross_attn=1 if small else 6,
        weight_tie_layers=True,
    )
    return model, (side, side, CHANNELS)


MODELS = {"transformers": transformers_fourier, "perceiver-pytorch": perceiver_pytorch_imagenet}


def main() -> None:
    """Serves "forward" and "forward_backward" of the model in argv's JSON."""
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    dtype = DTYPES[asked["precision"]]
    torch.ones(8, 8) @ torch.ones(8, 8)

    def build() -> tuple[worker.Calls, Mapping[str, Any]]:
        torch.manual_seed(0)
        model, shape = MODELS[asked["model"]](asked.get("small", False))
        model = model.to(dtype)
        batch_size = asked.get("batch_size", 1)
        inputs = (2 * torch.rand(batch_size, *shape) - 1).to(dtype)
        labels = torch.randint(CLASSES, (batch_size,))

        def logits() -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=asked["precision"] == "mixed"):
                outputs = model(inputs)
            return getattr(outputs, "logits", outputs)

        def forward() -> torch.Tensor:
            model.eval()
            with torch.inference_mode():
                return logits()

        def forward_backward() -> None:
            model.train()
            model.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(logits().float(), labels).backward()

        facts = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "version": f"torch {torch.__version__}, transformers {transformers.__version__}, "
            f"perceiver-pytorch {_version()}",
        }
        return {"forward": forward, "forward_backward": forward_backward}, facts

    worker.serve(build)


def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("perceiver-pytorch")


if __name__ == "__main__":
    main()
