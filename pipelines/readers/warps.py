"""Pairs of frames from one photograph, with the exact flow between them and what gets hidden.

The first frame is the photograph, with a few pieces of itself pasted on as objects. Everything in
it moves: the background by a rotation, a scale, a translation and a smooth non-rigid part, each
object by a rotation, a scale and a translation of its own. A motion is given as the map from the
second frame's places back to the first's, by which the second is drawn; the flow, its inverse, is
found to `TOLERANCE`. What lies in front where is known from the shapes, not from pixels.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from pipelines.readers import Rejected

MIN_SIDE = 48  # Pixels of a photograph's short side.
TOLERANCE = 1e-7  # Pixels, of the flow.

_MAX_ANGLE, _MAX_LOG_SCALE = np.radians(15.0), 0.15
_WAVES = 4  # Of the non-rigid part.
_MAX_GRADIENT = 0.25  # Of the non-rigid part, pixels a pixel: below 1 nothing folds.
_MAX_OBJECTS = 3
_SHAPE_TERMS = 4  # Of an object's outline.


@dataclasses.dataclass(frozen=True)
class Motion:
    """Where things were: y -> c + L (y - c) + t + sum of waves. Places are (x, y) in pixels.

    Attributes:
      linear: L, float64 `[2, 2]`. centre, shift: c and t, float64 `[2]`.
      waves: wave vectors `[K, 2]` in radians a pixel, amplitudes `[K, 2]` in pixels, phases `[K]`.
    """

    linear: np.ndarray
    centre: np.ndarray
    shift: np.ndarray
    waves: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def before(self, places: np.ndarray) -> np.ndarray:
        """Places of the second frame, `[..., 2]` -> where they were in the first."""
        moved = (places - self.centre) @ self.linear.T + self.centre + self.shift
        return moved + self._bend(places)

    def after(self, places: np.ndarray) -> np.ndarray:
        """The inverse of `before`, to `TOLERANCE`: places of the first frame -> of the second."""
        inverse = np.linalg.inv(self.linear).T
        found = (places - self.centre - self.shift) @ inverse + self.centre
        if self.waves is None:
            return found
        while True:  # A contraction, by `_MAX_GRADIENT`.
            rest = places - self.centre - self.shift - self._bend(found)
            better = rest @ inverse + self.centre
            change, found = np.abs(better - found).max(), better
            if change < TOLERANCE / 2:
                return found

    def _bend(self, places: np.ndarray) -> np.ndarray | float:
        if self.waves is None:
            return 0.0
        vectors, amplitudes, phases = self.waves
        return np.sin(places @ vectors.T + phases) @ amplitudes


@dataclasses.dataclass(frozen=True)
class Piece:
    """An object of the first frame: a wobbly disc that shows another place of the photograph.

    Attributes:
      motion: of it.
      centre: float64 `[2]`. radius: mean of the outline's, in pixels.
      wobble: amplitudes and phases of the outline's cosines, relative to the radius.
      source: float64 `[2]`, what is added to a place to get where its colours are.
    """

    motion: Motion
    centre: np.ndarray
    radius: float
    wobble: tuple[np.ndarray, np.ndarray]
    source: np.ndarray

    def covers(self, places: np.ndarray) -> np.ndarray:
        """Places of the first frame, `[..., 2]` -> bool `[...]`."""
        x, y = np.moveaxis(places - self.centre, -1, 0)
        amplitudes, phases = self.wobble
        turns = np.arange(2, 2 + len(amplitudes))
        angle = np.arctan2(y, x)[..., None]
        outline = 1 + (amplitudes * np.cos(turns * angle + phases)).sum(-1)
        return np.hypot(x, y) < self.radius * outline


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two frames, uint8 `[H, W, 3]`; flow, float32 `[H, W, 2]`; hidden, bool `[H, W]`: the pixels
    of the first frame that the second doesn't show, behind something else or outside of it."""

    first: np.ndarray
    second: np.ndarray
    flow: np.ndarray
    hidden: np.ndarray


def draw(photograph: np.ndarray, name: str, *, max_side: int, motion: float, seed: int) -> Pair:
    """Makes a pair of a photograph.

    Args:
      photograph: uint8 `[H, W, 3]`.
      name: of its file, for the message.
      max_side: the photograph is reduced until its long side has so many pixels. The frames are its
        inner part: what moves in from outside is in it too.
      motion: about how far things move at most, in pixels.
      seed: decides everything else.

    Raises:
      Rejected: the photograph is, or gets, too small.
    """
    source = _reduced(photograph, max_side)
    margin = min(round(motion), min(source.shape[:2]) // 8)
    if min(photograph.shape[:2]) < MIN_SIDE or min(source.shape[:2]) - 2 * margin < MIN_SIDE // 2:
        height, width = photograph.shape[:2]
        raise Rejected(
            "too-small",
            f"{name} has {width} x {height} pixels; {MIN_SIDE} are needed, and with its long side "
            f"reduced to {max_side} more than {MIN_SIDE // 2}",
        )
    random = np.random.default_rng(seed)
    size = np.array([source.shape[1], source.shape[0]]) - 2 * margin
    background = _motion(random, (size - 1) / 2, np.hypot(*size) / 2, motion, bent=True)
    pieces = [_piece(random, size, motion) for _ in range(random.integers(0, _MAX_OBJECTS + 1))]
    return render(source, margin, background, pieces)


def render(source: np.ndarray, margin: int, background: Motion, pieces: list[Piece]) -> Pair:
    """Draws both frames and what is known of them.

    Args:
      source: uint8 `[H + 2 margin, W + 2 margin, 3]`.
      margin: of the photograph around the frames, in pixels.
      background: the motion of all that no piece covers.
      pieces: later ones lie in front of earlier ones.
    """
    height, width = (side - 2 * margin for side in source.shape[:2])
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float64)
    first = source[margin : margin + height, margin : margin + width].copy()
    second = _sample(source, background.before(grid) + margin)
    target = background.after(grid)
    layer = np.zeros((height, width), int)
    for number, piece in enumerate(pieces, 1):
        covered = piece.covers(grid)
        first[covered] = _sample(source, grid[covered] + piece.source + margin)
        target[covered] = piece.motion.after(grid[covered])
        layer[covered] = number
        before = piece.motion.before(grid)
        covered = piece.covers(before)
        second[covered] = _sample(source, before[covered] + piece.source + margin)
    in_front = np.zeros_like(layer)
    for number, piece in enumerate(pieces, 1):
        in_front[piece.covers(piece.motion.before(target))] = number
    outside = ((target < 0) | (target > (width - 1, height - 1))).any(-1)
    return Pair(first, second, (target - grid).astype(np.float32), outside | (in_front != layer))


def _motion(
    random: np.random.Generator, centre: np.ndarray, reach: float, motion: float, bent: bool
) -> Motion:
    """A random motion that takes what is `reach` from the centre about `motion` far, at most."""
    share = random.uniform(0, 0.6, 4) * motion  # Of each part, so that they come mixed.
    angle = random.choice([-1, 1]) * min(share[0] / reach, _MAX_ANGLE)
    scale = np.exp(random.choice([-1, 1]) * min(share[1] / reach, _MAX_LOG_SCALE))
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    towards = random.uniform(0, 2 * np.pi)
    shift = share[2] * np.array([np.cos(towards), np.sin(towards)])
    if not bent:
        return Motion(linear, centre, shift)
    # Wavelengths from half to twice the frame: a smooth field that no similarity makes.
    lengths = reach * np.exp(random.uniform(np.log(1), np.log(4), _WAVES))
    directions = random.uniform(0, 2 * np.pi, _WAVES)
    vectors = 2 * np.pi / lengths[:, None] * _unit(directions)
    amplitudes = share[3] / 2 * _unit(random.uniform(0, 2 * np.pi, _WAVES))
    gradient = (np.hypot(*amplitudes.T) * np.hypot(*vectors.T)).sum()
    amplitudes *= min(1, _MAX_GRADIENT / max(gradient, 1e-12))
    return Motion(
        linear, centre, shift, (vectors, amplitudes, random.uniform(0, 2 * np.pi, _WAVES))
    )


def _piece(random: np.random.Generator, size: np.ndarray, motion: float) -> Piece:
    """A random object, smaller than half the frame."""
    centre = random.uniform(0, 1, 2) * (size - 1)
    radius = random.uniform(0.08, 0.22) * min(size)
    wobble = random.uniform(0, 0.4 / _SHAPE_TERMS, _SHAPE_TERMS)
    phases = random.uniform(0, 2 * np.pi, _SHAPE_TERMS)
    away = random.uniform(0.25, 0.75, 2) * size * random.choice([-1, 1], 2)
    moved = _motion(random, centre, radius, motion, bent=False)
    # Its turn and scale take it less far than the frame's corners: it moves on its own more.
    moved = dataclasses.replace(moved, shift=moved.shift / 0.6)
    return Piece(moved, centre, radius, (wobble, phases), np.rint(away))


def _unit(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], -1)


def _reduced(photograph: np.ndarray, max_side: int) -> np.ndarray:
    height, width = photograph.shape[:2]
    if max(height, width) <= max_side:
        return photograph
    scale = max_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(photograph).resize(size, Image.Resampling.LANCZOS))


def _sample(source: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Cubic samples at places (x, y) `[..., 2]`; outside, the photograph's mirror image."""
    from scipy import ndimage

    where = np.moveaxis(places[..., ::-1], -1, 0)
    channels = [
        ndimage.map_coordinates(source[..., c], where, np.float64, order=3, mode="mirror")
        for c in range(source.shape[-1])
    ]
    return np.clip(np.rint(np.stack(channels, -1)), 0, 255).astype(np.uint8)
