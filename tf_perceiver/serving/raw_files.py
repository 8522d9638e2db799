"""From raw files to what a served model is asked, by modality; the readers are preprocessing's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.readers import (
    Rejected,
    audio,
    bags,
    clip_features,
    flow,
    image,
    omics,
    points,
    series,
    text,
    unexpected,
    video,
)

# Meshes are sampled and clouds are limited to this many points; the model's own graph then takes
# as many as it was trained on.
MAX_POINTS = 10_000
SEED = 0

Arrays = dict[str, np.ndarray]  # The signature's inputs of one example, by name.


@dataclasses.dataclass(frozen=True)
class RawKind:
    """What the raw files of a modality are.

    Attributes:
      name: in messages.
      suffixes: lower case, of the files.
      read: (content of a file, its name, properties of the model) to the signature's inputs; for
        several files an example, their contents and names.
      files: an example.
      bags: whether `read` needs the property "bags", what `find_bags` gives.
    """

    name: str
    suffixes: frozenset[str]
    read: Callable[[Any, Any, Mapping[str, Any]], Arrays]
    files: int = 1
    bags: bool = False


def read(files: Sequence[str], modality: str, properties: Mapping[str, Any]) -> Arrays:
    """Reads and checks the raw files of one example.

    Args:
      files: their paths, as many as the modality's `files`.
      modality: of `RAW_KINDS`.
      properties: what every raw example must have, such as {"sample_rate": 16000}.

    Returns:
      The signature's inputs by name, without the batch's axis.

    Raises:
      ValueError: one can't be read, or is of another modality; one line that names it.
    """
    kind, contents = RAW_KINDS[modality], []
    for file in files:
        suffix = Path(file).suffix.lower()
        if suffix not in kind.suffixes:
            for other in RAW_KINDS.values():
                if suffix in other.suffixes:
                    raise ValueError(f"{file} is {other.name}, the model takes {kind.name}")
        contents.append(_content(file))
    try:
        if kind.files == 1:
            return kind.read(contents[0], files[0], properties)
        return kind.read(contents, files, properties)
    except Rejected as error:
        raise ValueError(error.detail) from error
    except Exception as error:  # What a decoder stumbles over must not cost the other files.
        raise ValueError(f"{' and '.join(files)}: {unexpected(error)}") from error


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"{file} can't be read: {error.strerror}") from error


def find_bags(folder: str) -> dict[str, str]:
    """Slide or patient -> path of its bag of patch features, of all below a folder.

    Raises:
      ValueError: no such folder, or two bags of one name.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"--bags={folder}: no such folder")
    try:
        return bags.by_name(map(str, sorted(Path(folder).rglob("*"))))
    except Rejected as error:
        raise ValueError(f"--bags={folder}: {error.detail}") from error


def _sound(content: bytes, file: str, properties: Mapping[str, Any]) -> Arrays:
    """A sound of any format and rate, float32 [n] in [-1, 1] at the model's rate."""
    return {"waveform": _unit(audio.read(content, file, properties["sample_rate"]))}


def _unit(waveform: np.ndarray) -> np.ndarray:
    return (waveform / audio.FULL_SCALE).astype(np.float32)


def _image(content: bytes, file: str, properties: Mapping[str, Any]) -> Arrays:
    """An image's bytes as TensorFlow decodes them, a scalar."""
    del properties
    return {"image_bytes": np.array(image.check(content, file), object)}


def _frame_pair(
    contents: Sequence[bytes], files: Sequence[str], properties: Mapping[str, Any]
) -> Arrays:
    """Two pictures of one size, encoded, [2]."""
    del properties
    frames, _ = flow.check_frames(list(contents), list(files))
    return {"frames_bytes": np.array(frames, object)}


def _points(content: bytes, file: str, properties: Mapping[str, Any]) -> Arrays:
    """Points of a cloud or of a mesh's surface, float32 [n, 3]."""
    del properties
    return {"points": points.read(content, file, MAX_POINTS, SEED)}


def _series(content: bytes, file: str, properties: Mapping[str, Any]) -> Arrays:
    """A stay's hours, variables and values, float32, int64 and float32 [n]."""
    stay = series.read(content, file, properties["layout"])
    return {"hour": stay.hours, "variable": stay.variables, "value": stay.values}


def _omics(content: bytes, file: str, properties: Mapping[str, Any]) -> Arrays:
    """A patient's profile, a csv header and row; float32 [n], NaN where a value is missing."""
    columns = [column for group in properties["groups"].values() for column in group]
    return {"omics": omics.read_profile(content, file, columns)}


def _profile_and_patches(content: bytes, file: str, properties: Mapping[str, Any]) -> Arrays:
    """As `_omics`, and the patches of the patient's slides, float32 [m, width], as records are.

    A patient whose table names no slide, and who has no bag by its own name, has no patches.
    """
    if "bags" not in properties:
        raise ValueError(f"{file}: the model reads patches too; name their folder with --bags")
    asked = _omics(content, file, properties)
    table = omics.read_table(content, file)
    patient = next(iter(table.patients())) if omics.PATIENT in table.header else Path(file).stem
    slides = table.slides(range(len(table.rows)))
    paths = bags.of_patient(patient, slides, properties["bags"])
    if slides and not paths:
        raise ValueError(f"{file}: --bags has none of {patient} or its slide {slides[0]}")
    width = properties["patch_width"]
    found = [bags.read(_content(path), path, width) for path in paths]
    bag = np.concatenate([np.empty((0, width), np.float32), *found])
    most, seed = properties["max_patches"], properties["seed"]
    return asked | {"patches": bags.chosen(bag, most, seed, patient)}


def _clip_features(content: bytes, file: str, properties: Mapping[str, Any]) -> Arrays:
    """The features of a clip's sound and picture, float32 [rows, width] each."""
    widths = {name: properties[f"{name}_width"] for name in clip_features.MODALITIES}
    found = clip_features.read(content, file, widths)
    return {f"{name}_features": rows for name, rows in found.items()}


def _text(content: bytes, file: str, properties: Mapping[str, Any]) -> Arrays:
    """A text without the ends of lines behind it, UTF-8, a scalar."""
    del properties
    return {"text_bytes": np.array(text.read(content, file).rstrip(b"\r\n"), object)}


def _frames(content: bytes, file: str, properties: Mapping[str, Any]) -> Arrays:
    """The pictures of a video at the model's rate, JPEGs [n]."""
    return {"frames_bytes": np.array(_clip(content, file, properties).frames, object)}


def _video(content: bytes, file: str, properties: Mapping[str, Any]) -> Arrays:
    """The pictures of a video, and its sound, float32 [m] in [-1, 1]; silence where it has none."""
    clip = _clip(content, file, properties)
    return {"frames_bytes": np.array(clip.frames, object), "waveform": _unit(clip.audio)}


def _whole_video(content: bytes, file: str, properties: Mapping[str, Any]) -> Arrays:
    """As `_video`; one without sound, or shorter than a clip, is rejected."""
    clip = video.read_whole(
        content, file, fps=properties["fps"], size=properties["frame_size"],
        sample_rate=properties["sample_rate"], min_frames=properties.get("min_frames", 1),
    )  # fmt: skip
    return {"frames_bytes": np.array(clip.frames, object), "waveform": _unit(clip.audio)}


def _clip(content: bytes, file: str, properties: Mapping[str, Any]) -> video.Clip:
    return video.read(
        content, file, fps=properties["fps"], size=properties["frame_size"],
        sample_rate=properties["sample_rate"],
    )  # fmt: skip


# Where files of several kinds have one extension, they are called by the name of the first.
RAW_KINDS = {
    "video": RawKind("a video", video.SUFFIXES, _frames),
    "audio_video": RawKind("a video", video.SUFFIXES, _video),
    "autoencoding": RawKind("a video", video.SUFFIXES, _whole_video),
    "audio": RawKind("a sound", audio.SUFFIXES, _sound),
    "image": RawKind("an image", image.SUFFIXES, _image),
    "flow": RawKind("two frames", image.SUFFIXES, _frame_pair, files=2),
    "text": RawKind("a text", text.SUFFIXES, _text),
    "omics": RawKind("a table", omics.SUFFIXES, _omics),
    "omics_patches": RawKind("a table", omics.SUFFIXES, _profile_and_patches, bags=True),
    "series": RawKind("a series of measurements", series.SUFFIXES, _series),
    "points": RawKind("a point cloud", points.SUFFIXES, _points),
    "clip_features": RawKind("features of a clip", clip_features.SUFFIXES, _clip_features),
}
