"""Molecular profiles beside the bags of features of the patients' whole slides.

The section `omics` of the config is that of the modality of this name, and so are the functions.
Of a bag the model reads as many patches as `pipelines.rows` chooses; a patient without a bag has
none, which the mask tells. All numbers of patches are normalised by one mean and one deviation,
those of the training patients.

Every random number is drawn statelessly from the seed that the caller gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipelines import omics, rows
from pipelines.records import DatasetInfo, Feature

FEATURES = {**omics.FEATURES, "patches": Feature("float32", (None,))}
"""What the records must hold: a profile, and patches one after the other."""


def check(cfg: Any) -> None:
    """Checks `config.data.omics_patches` before any work is done.

    Args:
        cfg: the `data.omics_patches` section of a config.

    Raises:
        ValueError: as of the modality omics; a length or width below 1, a clip that isn't above 0,
            negative noise, a share of dropout outside [0, 1).
    """
    omics.check(cfg.omics)
    patches, path = cfg.patches, "config.data.omics_patches.patches"
    for name in ("length", "patch_width"):
        if patches[name] < 1:
            raise ValueError(f"{path}.{name}={patches[name]} must be at least 1")
    if not patches.clip > 0:
        raise ValueError(f"{path}.clip={patches.clip} must be greater than 0")
    if patches.noise < 0:
        raise ValueError(f"{path}.noise={patches.noise} can't be negative")
    if not 0 <= patches.dropout < 1:
        raise ValueError(f"{path}.dropout={patches.dropout} is not in [0, 1)")


def shape(cfg: Any) -> dict[str, tuple[int, int]]:
    """Shapes of one prepared patient, by name of the model's input."""
    patches = (cfg.patches.length, cfg.patches.patch_width)
    return {"omics": omics.shape(cfg.omics), "patches": patches}


def statistics(info: DatasetInfo) -> dict[str, dict[str, Any]]:
    """What a dataset's description says of its groups, training patients and their patches.

    Args:
        info: as of the modality omics, with the totals "patches": count, sum, squares.

    Returns:
        "omics": as of that modality; "patches": {"moments": (mean, deviation)}.

    Raises:
        ValueError: the description has none of this, or the training patients have no patches.
    """
    count, *sums = info.statistics.get("train", {}).get("totals", {}).get("patches", (0.0,))
    if not count:
        raise ValueError(
            f"dataset {info.name!r} has no patches of its training patients; write it again with "
            "beam_preprocess.run --bags=FOLDER"
        )
    moments = rows.scale(count, *sums)
    return {"omics": omics.statistics(info), "patches": {"moments": moments}}


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Augments the profile, draws patches, adds noise to them, sometimes leaves the bag out.

    Args:
        fields: as of `prepare_eval`.
        cfg: the `data.omics_patches` section of a config, with `statistics`.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        As `prepare_eval`.
    """
    omics_seed, drawn_seed, noise_seed, drop_seed = tf.unstack(
        tf.random.experimental.stateless_split(seed, 4)
    )
    patches, mask = _patches(fields, cfg.patches, drawn_seed)
    patches = rows.noisy(patches, mask, cfg.patches.noise, noise_seed)
    mask &= tf.random.stateless_uniform([], drop_seed) >= cfg.patches.dropout
    profile = omics.prepare_train(fields, cfg.omics, omics_seed)
    return {**profile, "patches": patches, "patches_mask": mask}


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """A patient as evaluation and serving see it.

    Args:
        fields: "omics": float32 `[n]`, NaN for what is missing; "patches": float32, `[m, width]` or
            these one after the other, rows of nothing but NaN being padding; m may be 0.
        cfg: the `data.omics_patches` section of a config, with `statistics`.

    Returns:
        "omics" and "omics_mask", as of that modality; "patches": float32 `[length, width]`, in
        deviations from the mean, in [-clip, clip], 0 behind the last patch; "patches_mask": bool
        `[length]`, False there.
    """
    patches, mask = _patches(fields, cfg.patches, None)
    return {**omics.prepare_eval(fields, cfg.omics), "patches": patches, "patches_mask": mask}


def _patches(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    found, mask = rows.fixed(fields["patches"], cfg.patch_width, cfg.length, seed, "patches")
    return rows.normalised(found, mask, cfg.moments, cfg.clip), mask
