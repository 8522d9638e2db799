"""The fields that every experiment has, at the paper's values.

An experiment overwrites what differs. All fields exist, so that overrides on the command line can
be checked against them.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict


def classification(name: str, model: dict[str, Any]) -> ConfigDict:
    """Everything but ``data``.

    Args:
      name: of the experiment, as it shows in logs and reports.
      model: ``config.model``, from `tf_perceiver.presets` or alike.
    """
    return ConfigDict(
        {
            "name": name,
            "seed": 0,
            "task": {"name": "classification", "label_smoothing": 0.0},
            "model": model,
            "optimizer": {
                "name": "lamb",  # Or "adamw".
                "learning_rate": 4e-3,
                # Whether learning_rate is for a batch of 256 and grows with the batch.
                "scale_by_batch": False,
                "schedule": "constant_cosine",
                "warmup_steps": 0,
                "constant_fraction": 0.5,
                "boundaries": (0.5, 0.8, 0.95),
                "decay_rate": 0.1,
                "weight_decay": 0.1,
                "decay_positions": True,  # Latents, learned positions and queries.
                "beta_1": 0.9,
                "beta_2": 0.999,
                "epsilon": 1e-6,
                "clip_norm": 10.0,
            },
            "train": {
                "epochs": 1.0,
                "steps": 0,  # Wins over epochs when it isn't 0.
                "log_every": 100,  # Also the length of the device's loop.
                "checkpoint_every": 1000,
                "eval_every": 1000,
                "keep_checkpoints": 3,
                # Micro-batches that each replica takes its part of a batch in: less memory.
                "accumulate": 1,
                # Of the averages of the weights, which are then what is evaluated and exported;
                # 0 is off.
                "ema_decay": 0.0,
                # Name of the evaluation's metric by which checkpoints/best is kept, with "-" before
                # it if less is better ("accuracy", "-loss"); "" keeps none.
                "best_metric": "",
                # First and last step of the profiler's window; 0, 0 is off.
                "profile": (0, 0),
                # So many steps in a row without a finite loss and gradient send training back to
                # a checkpoint, with other batches; after so many rollbacks it stops.
                "guard": {"patience": 5, "rollbacks": 3},
            },
        }
    )


def mortality(name: str, model: dict[str, Any], data: ConfigDict) -> ConfigDict:
    """Everything of an experiment that ranks stays by the risk of death.

    Args:
      name: of the experiment. model: ``config.model``. data: of `stays`.
    """
    config = classification(name, model)
    config.task = ConfigDict({"name": "mortality", "label_smoothing": 0.0, "resamples": 1000})
    config.data = data
    return config


def pace(config: ConfigDict, tiny: bool, epochs: float) -> None:
    """Sets the length of a `small` training, or the 20 steps of a `tiny` one."""
    config.train.epochs = epochs
    config.train.log_every = 5 if tiny else 50
    if tiny:
        config.train.steps = 20
        config.train.checkpoint_every = 10
        config.train.eval_every = 10


def unknown_variant(variant: str | None, variants: tuple[str, ...]) -> ValueError:
    """The error for a variant that the experiment doesn't have."""
    return ValueError(f"variant {variant!r} is none of {', '.join(variants)}")
