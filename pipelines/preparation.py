"""What becomes of one record: the model's inputs and the task's target, checked before any work.

Training, evaluation, export and serving all prepare with the object that `of` returns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import tensorflow as tf

from pipelines import (
    audio,
    audio_video,
    autoencoding,
    clip_features,
    flow,
    image,
    mixing,
    omics,
    omics_patches,
    points,
    series,
    targets,
    text,
    video,
)
from pipelines.records import DatasetInfo, Feature

MODALITIES: dict[str, ModuleType] = {
    "audio": audio,
    "audio_video": audio_video,
    "autoencoding": autoencoding,
    "clip_features": clip_features,
    "flow": flow,
    "image": image,
    "omics": omics,
    "omics_patches": omics_patches,
    "points": points,
    "series": series,
    "text": text,
    "video": video,
}
"""`config.data.modality` -> the module that prepares it. A module has

- `FEATURES`: the record's fields that it reads;
- `check(cfg)`: ValueError where `config.data.<modality>` is out of range;
- `prepare_train(fields, cfg, seed)`, `prepare_eval(fields, cfg)`: one record to what the model
  gets, and to what a target must share with it, such as the flow of a cropped pair of frames;
- if it needs them, `statistics(info)`: fields to be added to `cfg` from the training records';
- if people look at something else than the model, `shown(fields, cfg)`.
"""

Fields = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How the records of one dataset are prepared by one config.

    Attributes:
        module: of the modality.
        cfg: `config.data.<modality>`, with the statistics that the module asks for.
        target: what the task learns.
        classes: number of the dataset's labels.
        features: of the record, those that are read.
    """

    module: ModuleType
    cfg: Any
    target: targets.Target
    classes: int
    features: dict[str, Feature]

    def train(self, fields: Fields, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """One example, augmented: the fields of a parsed record and int64 `[2]`."""
        inputs = self.module.prepare_train(fields, self.cfg, seed)
        return inputs | self.target.prepare(fields, self.classes)

    def evaluation(self, fields: Fields, shown: bool = False) -> dict[str, tf.Tensor]:
        """One example as it is evaluated; with "shown", where asked for and there is such."""
        example = self.inputs(fields) | self.target.prepare(fields, self.classes)
        if shown and hasattr(self.module, "shown"):
            example["shown"] = self.module.shown(fields, self.cfg)
        return example

    def inputs(self, fields: Fields) -> dict[str, tf.Tensor]:
        """What the model gets of one example, in evaluation and serving; no target is needed."""
        return self.module.prepare_eval(fields, self.cfg)


def of(info: DatasetInfo, data: Any) -> Preparation:
    """Checks a config against a dataset.

    Args:
        info: the dataset's description.
        data: the `data` section of a config.

    Raises:
        ValueError: an unknown modality or target, a config value out of range, or records of
            another schema.
    """
    if data.modality not in MODALITIES:
        raise ValueError(
            f"config.data.modality={data.modality!r} is unknown: choose {' or '.join(MODALITIES)}"
        )
    kind = data.get("target", "label")
    if kind not in targets.TARGETS:
        raise ValueError(
            f"config.data.target={kind!r} is unknown: choose {' or '.join(targets.TARGETS)}"
        )
    module, target = MODALITIES[data.modality], targets.TARGETS[kind]
    if data.modality not in data:
        raise ValueError(
            f"config.data has no section {data.modality!r} for modality={data.modality!r}; "
            "use a config that was made for it"
        )
    section = data[data.modality]
    module.check(section)
    for path, part in _sections(data.modality, section):
        for name, value in info.properties.items():
            if (asked := part.get(name, value)) != value:
                raise ValueError(
                    f"config.data.{path}.{name}={asked}, the records of {info.name!r} have "
                    f"{value}: write them again with --{name}={asked}, or set the field to {value}"
                )
    if data.get("mixing") is not None:
        mixing.check(data.mixing)
        if module is not image and mixing.group(data.mixing)[0] > 1:
            raise ValueError(
                f"config.data.mixing: MixUp and CutMix mix images, not {data.modality}; "
                "set mixup_alpha=0 and cutmix=False"
            )
        if data.mixing.cutmix and section.get("permutation_seed", 0):
            raise ValueError(
                "config.data: CutMix cuts rectangles, of which permuted pixels have none; set "
                "mixing.cutmix=False or image.permutation_seed=0"
            )
    needed = {**module.FEATURES, **target.features}
    for name, expected in needed.items():
        found = info.features.get(name)
        if found is None or not _matches(found, expected):
            raise ValueError(
                f"records of another schema: {data.modality} needs the feature {name!r} "
                f"({_describe(expected)}), dataset {info.name!r} has {_describe(found)}; "
                "use a config for this dataset or write it again with beam_preprocess.run"
            )
    if hasattr(module, "statistics"):
        section = section.copy_and_resolve_references().unlock()
        section.update(module.statistics(info))
    features = {name: info.features[name] for name in needed}
    return Preparation(module, section, target, len(info.labels), features)


def _sections(path: str, section: Any) -> Iterator[tuple[str, Any]]:
    """A section of a config and those below it, each with its path."""
    yield path, section
    for name, value in section.items():
        if hasattr(value, "items"):
            yield from _sections(f"{path}.{name}", value)


def _matches(found: Feature, expected: Feature) -> bool:
    """Same dtype, same shape; None in the expected shape stands for any size."""
    return (
        found.dtype == expected.dtype
        and len(found.shape) == len(expected.shape)
        and all(e in (None, f) for f, e in zip(found.shape, expected.shape, strict=True))
    )


def _describe(feature: Feature | None) -> str:
    return "none of that name" if feature is None else f"{feature.dtype} {feature.shape}"
