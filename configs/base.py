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
                "name": "lamb",
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
            },
        }
    )


def images(
    size: tuple[int, int],
    batch_size: int,
    *,
    mean: tuple[float, ...] = (0.485, 0.456, 0.406),
    std: tuple[float, ...] = (0.229, 0.224, 0.225),
    **image: Any,
) -> ConfigDict:
    """``config.data`` for pictures, with ImageNet's augmentation unless `image` says otherwise.

    Args:
      size: (height, width) of what the model sees.
      batch_size: global, in training; evaluation takes twice as many.
      mean, std: of the channels, of values in [0, 1].
      image: further fields of ``data.image``.
    """
    fields = {
        "size": size,
        "channels": 3,
        "train_crop": "inception",
        "pad": 4,
        "crop_area": (0.08, 1.0),
        "rotate_degrees": 0.0,
        "flip": True,
        "randaugment_layers": 4,
        "randaugment_magnitude": 5,
        "eval_crop": 224 / 256,
        "mean": mean,
        "std": std,
    }
    unknown = set(image) - set(fields)
    if unknown:
        raise ValueError(f"data.image has no field {sorted(unknown)}; it has {sorted(fields)}")
    return ConfigDict(
        {
            **_splits(batch_size),
            "modality": "image",
            "image": {**fields, **image},
            # As in the paper's recipe, an example takes two records; one with both_ways.
            "mixing": {"mixup_alpha": 0.0, "cutmix": False, "both_ways": False},
        }
    )


def points(num_points: int, batch_size: int) -> ConfigDict:
    """``config.data`` for point clouds, with the paper's augmentation.

    Args:
      num_points: that the model sees of each cloud.
      batch_size: global, in training; evaluation takes twice as many.
    """
    return ConfigDict(
        {
            **_splits(batch_size),
            "modality": "points",
            "points": {
                "num_points": num_points,
                "scale": (0.99, 1.01),
                "rotate": False,
                "translate": 0.0,
            },
        }
    )


def sounds(
    sample_rate: int,
    samples: int,
    batch_size: int,
    *,
    mel: dict[str, Any] | None = None,
    **audio: Any,
) -> ConfigDict:
    """``config.data`` for sound: raw samples, or a log-mel spectrogram where `mel` has fields.

    Args:
      sample_rate: of the records, in Hz.
      samples: that the model hears of each.
      batch_size: global, in training; evaluation takes twice as many.
      mel: fields of ``data.audio.mel`` other than those below. window and hop are in samples, low,
        high in Hz; mean, std and floor in dB.
      audio: further fields of ``data.audio``: the gain in dB, up or down, and SpecAugment's masks.
    """
    fields = {
        "gain_db": 0.0,
        "time_masks": 0,
        "time_mask_width": 0,
        "frequency_masks": 0,
        "frequency_mask_width": 0,
    }
    bands = {
        "window": sample_rate // 20,
        "hop": sample_rate // 50,
        "bins": 64,
        "low": 20.0,
        "high": min(sample_rate / 2, 20_000.0),
        "floor": -100.0,
        "mean": -40.0,
        "std": 30.0,
    }
    for name, unknown in (("", set(audio) - set(fields)), (".mel", set(mel or {}) - set(bands))):
        if unknown:
            raise ValueError(f"data.audio{name} has no field {sorted(unknown)}")
    return ConfigDict(
        {
            **_splits(batch_size),
            "modality": "audio",
            "audio": {
                "sample_rate": sample_rate,
                "samples": samples,
                "representation": "waveform" if mel is None else "mel",
                **fields,
                **audio,
                "mel": {**bands, **(mel or {})},
            },
        }
    )


def stays(layout: str, variables: int, length: int, batch_size: int, **series: Any) -> ConfigDict:
    """``config.data`` for 48 hours of intensive care as irregular series.

    Args:
      layout: of the records, and the number of its `variables`.
      length: measurements of a stay that the model sees at most.
      batch_size: global, in training; evaluation takes twice as many.
      series: further fields of ``data.series``: `drop` and `hide`, the probabilities with which
        training leaves out a measurement, and all of a variable; `limit`, in deviations.
    """
    fields = {"hours": 48.0, "limit": 4.0, "drop": 0.0, "hide": 0.0}
    if unknown := set(series) - set(fields):
        raise ValueError(f"data.series has no field {sorted(unknown)}; it has {sorted(fields)}")
    own = {"layout": layout, "variables": variables, "length": length}
    return ConfigDict(
        {**_splits(batch_size), "modality": "series", "series": {**own, **fields, **series}}
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
