"""What a model says of a raw file, in one line of text or of JSON, by task."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.readers import flow
from tf_perceiver.report import flow_pictures, reconstructions

CURVE_POINTS = 6  # Of a survival curve, in a line of text.
HIDDEN = b"[MASK]"  # A byte of a text that a masked language model has to find out.

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of one file, or of several by the first of them.

    Attributes:
      file: its path.
      said: the signature's outputs by name.
      error: why there is none, in one line.
      asked: the signature's inputs by name.
    """

    file: str
    said: Arrays = dataclasses.field(default_factory=dict)
    error: str = ""
    asked: Arrays = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """How answers are told.

    Attributes:
      labels: class names in the order of the probabilities.
      top_k: how many classes, the most probable first.
      as_json: whether a line is a JSON object.
      output: folder for answers that are files.
      properties: what every raw example has, such as {"sample_rate": 16000}.
    """

    labels: Sequence[str]
    top_k: int = 1
    as_json: bool = False
    output: Path = Path()
    properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def label(answer: Answer, wanted: Wanted) -> str:
    """The most probable labels."""
    probabilities = answer.said["probabilities"]
    order = np.argsort(-probabilities, kind="stable")[: wanted.top_k]
    top = [(wanted.labels[i], float(probabilities[i])) for i in order]
    if not wanted.as_json:
        return f"{answer.file}: " + ", ".join(f"{name} {score:.4f}" for name, score in top)
    name, score = top[0]
    row = {"file": answer.file, "label": name, "score": score}
    if wanted.top_k > 1:
        row["top"] = [{"label": name, "score": score} for name, score in top]
    return _json(row)


def risk(answer: Answer, wanted: Wanted) -> str:
    """The probability of the second label."""
    name, probability = wanted.labels[1], float(answer.said["probabilities"][1])
    if wanted.as_json:
        return _json({"file": answer.file, name: probability})
    return f"{answer.file}: {name} {probability:.4f}"


def survival(answer: Answer, wanted: Wanted) -> str:
    """The risk and the probability of living longer than some times; writes NAME_survival.png."""
    # Here, not above: other answers need no matplotlib, which takes a second.
    from tf_perceiver.report import style
    from tf_perceiver.report import survival as drawn

    said = answer.said
    wanted.output.mkdir(parents=True, exist_ok=True)
    picture = wanted.output / f"{Path(answer.file).stem}_survival.png"
    picture.write_bytes(style.png(drawn.curve(said["times"], said["survival"])))
    risk = float(said["risk"])
    curve = [(float(t), float(p)) for t, p in zip(said["times"], said["survival"], strict=True)]
    if wanted.as_json:
        points = [{"months": months, "survival": share} for months, share in curve]
        row = {"file": answer.file, "risk": risk, "curve": points}
        return _json(row | {"picture": str(picture)})
    places = np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).round().astype(int))
    shown = ", ".join(f"{curve[i][0]:.0f} months {100 * curve[i][1]:.1f} %" for i in places)
    return f"{answer.file}: risk {risk:.4f}; survival {shown}; {picture}"


def score(answer: Answer, wanted: Wanted) -> str:
    """A score."""
    found = float(answer.said["score"])
    if wanted.as_json:
        return _json({"file": answer.file, "score": found})
    return f"{answer.file}: {found:.4f}"


def filled(answer: Answer, wanted: Wanted) -> str:
    """The text with every `[MASK]` filled in, each with the byte that is most probable there.

    A `[MASK]` beyond the longest text that the model reads stays as it is.
    """
    parts = answer.asked["text_bytes"].item().split(HIDDEN)
    said, scores = answer.said["bytes"], answer.said["scores"]
    text, place, found = parts[0], len(parts[0]), []
    for part in parts[1:]:
        if place < len(said):
            text += bytes([said[place]])
            found.append(float(scores[place]))
        else:
            text += HIDDEN
        text, place = text + part, place + 1 + len(part)
    whole = text.decode(errors="replace")
    if wanted.as_json:
        return _json({"file": answer.file, "text": whole, "scores": found})
    return f"{answer.file}: {_printable(whole)}"


def motion(answer: Answer, wanted: Wanted) -> str:
    """Writes NAME_flow.flo and its picture NAME_flow.png into the folder; says how far it goes."""
    found = answer.said["flow"]
    wanted.output.mkdir(parents=True, exist_ok=True)
    file = wanted.output / f"{Path(answer.file).stem}_flow.flo"
    file.write_bytes(flow.encode_flo(found))
    picture = file.with_suffix(".png")
    Image.fromarray(flow_pictures.colours(found)).save(picture)
    lengths = np.linalg.norm(found, axis=-1)
    mean, largest = float(lengths.mean()), float(lengths.max())
    if wanted.as_json:
        row = {"file": answer.file, "flow": str(file), "picture": str(picture)}
        return _json(row | {"mean": mean, "largest": largest})
    return f"{answer.file}: moves {mean:.2f} px, {largest:.2f} at most; {file}, {picture}"


def reconstruction(answer: Answer, wanted: Wanted) -> str:
    """Writes NAME_reconstruction.png and .wav into the folder; says the most probable labels."""
    picture, sound = reconstructions.write(
        wanted.output, Path(answer.file).stem, answer.said, wanted.properties["sample_rate"]
    )
    line = label(answer, wanted)
    if wanted.as_json:
        return _json(json.loads(line) | {"picture": str(picture), "sound": str(sound)})
    return f"{line}; {picture}, {sound}"


def _printable(text: str) -> str:
    """Text in which what a terminal would obey is escaped: a model may fill in any byte."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def _json(row: dict) -> str:
    return json.dumps(row, ensure_ascii=False)


# Tasks whose answers are files, one at a time.
WRITING = frozenset({"autoencoding", "flow", "survival"})
LINES = {
    "autoencoding": reconstruction,
    "audioset": label,
    "classification": label,
    "flow": motion,
    "masked_lm": filled,
    "mortality": risk,
    "sentences": label,
    "similarity": score,
    "survival": survival,
    "zero_shot": label,
}
