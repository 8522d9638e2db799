"""From a batch's arrays to the byte array, a class a kind of input. They are named here."""

from __future__ import annotations

from collections.abc import Mapping

from tf_perceiver.model.preprocessors.base import Preprocessor
from tf_perceiver.model.preprocessors.flow import FramePair
from tf_perceiver.model.preprocessors.groups import Groups
from tf_perceiver.model.preprocessors.image import Conv1x1, ConvStem, Patches, Pixels
from tf_perceiver.model.preprocessors.multimodal import Multimodal
from tf_perceiver.model.preprocessors.points import Points
from tf_perceiver.model.preprocessors.rows import Rows
from tf_perceiver.model.preprocessors.series import Series
from tf_perceiver.model.preprocessors.sound import Waveform
from tf_perceiver.model.preprocessors.text import OneHot, Text

PREPROCESSORS = {
    "pixels": Pixels,
    "patches": Patches,
    "conv1x1": Conv1x1,
    "conv": ConvStem,
    "points": Points,
    "waveform": Waveform,
    "frame_pair": FramePair,
    "groups": Groups,
    "rows": Rows,
    "text": Text,
    "one_hot": OneHot,
    "series": Series,
}


def build(config: Mapping) -> Preprocessor | Multimodal:
    """Builds a preprocessor from ``{"kind": ..., "positions": {...}, ...}``.

    The kind "multimodal" has ``modalities``, {name: such a config}.

    Raises:
      ValueError: an unknown kind, or fields that the kind doesn't have.
    """
    fields = dict(config)
    kind = fields.pop("kind")
    if kind == "multimodal":
        modalities = {
            name: build({"modality": name, **modality})
            for name, modality in dict(fields.pop("modalities")).items()
        }
        return Multimodal(modalities, **fields)
    if kind not in PREPROCESSORS:
        known = sorted([*PREPROCESSORS, "multimodal"])
        raise ValueError(f"model.inputs.kind={kind!r} is none of {', '.join(known)}")
    try:
        return PREPROCESSORS[kind](**fields)
    except TypeError as error:
        raise ValueError(f"model.inputs of kind {kind!r}: {error}") from error
