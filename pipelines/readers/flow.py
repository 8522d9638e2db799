"""Optical flow: Middlebury's .flo, KITTI's 16-bit PNG, pairs of frames, and records of all three.

A flow says of every pixel of the first frame where it is in the second: (x, y), in pixels. Where it
is unknown (a mark in the file, NaN, infinity) it isn't valid, and 0 here.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from pipelines.readers import Rejected, image

SUFFIXES = frozenset({".flo", ".png"})
UNKNOWN = 1e9  # Middlebury's flow-code: a value above is no displacement.
# Pixels. What lies between this and UNKNOWN is neither a displacement nor a mark: a damaged file.
MAX_DISPLACEMENT = 10_000.0
MAX_SIDE = 16_384  # Pixels of a flow; more is a damaged header.

_FLO_MAGIC = b"PIEH"  # 202021.25 as float32, little end first.
_MARK = 1e10  # What is written where the flow is unknown.
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_KITTI_ZERO, _KITTI_UNIT = 2**15, 64.0
_16_BIT_RGB = (16, 2)  # Bit depth and colour type of a PNG's header.

Flow = tuple[np.ndarray, np.ndarray]  # float32 [H, W, 2] and bool [H, W].


def read(data: bytes, name: str) -> Flow:
    """Reads a flow file of either format, which its first bytes tell.

    Args:
      data: content of the file.
      name: file name, for the message.

    Returns:
      Flow, float32 `[H, W, 2]`: (x, y) in pixels, 0 where unknown; and bool `[H, W]`, True where it
      is known.

    Raises:
      Rejected: an empty file, neither format, a size that is not the content's, a damaged PNG, a
        displacement above `MAX_DISPLACEMENT`, not one known pixel.
    """
    if not data:
        raise Rejected("empty-file", f"{name} has no bytes")
    if data.startswith(_FLO_MAGIC):
        flow, valid = _read_flo(data, name)
    elif data.startswith(_PNG_MAGIC):
        flow, valid = _read_kitti(data, name)
    else:
        raise Rejected("not-a-flow", f"{name} is neither a .flo file nor a PNG")
    return _checked(flow, valid, name)


def encode_flo(flow: np.ndarray, valid: np.ndarray | None = None) -> bytes:
    """The content of a .flo file.

    Args:
      flow: float32 `[H, W, 2]`, in pixels.
      valid: bool `[H, W]`; where it is False, the file says that the flow is unknown.
    """
    height, width, _ = flow.shape
    known = flow if valid is None else np.where(valid[..., None], flow, _MARK)
    return _FLO_MAGIC + struct.pack("<ii", width, height) + known.astype("<f4").tobytes()


def check_frames(contents: Sequence[bytes], names: Sequence[str]) -> tuple[list[bytes], Any]:
    """Checks the two frames of a pair.

    Args:
      contents: of the two files, of any format that `image.check` takes.
      names: of the files, for messages.

    Returns:
      Two JPEGs or PNGs that TensorFlow decodes, and their common (height, width).

    Raises:
      Rejected: as `image.check`, or frames of two sizes.
    """
    frames = [image.check(data, name) for data, name in zip(contents, names, strict=True)]
    first, second = (image.size(frame) for frame in frames)
    if first != second:
        raise Rejected(
            "frames-of-two-sizes",
            f"{names[0]} has {first[1]} x {first[0]} pixels, {names[1]} {second[1]} x {second[0]}",
        )
    return frames, first


def encode_record(frames: Sequence[bytes], flow: np.ndarray, valid: np.ndarray) -> dict[str, Any]:
    """The fields of a record.

    Args:
      frames: two JPEGs or PNGs.
      flow: float32 `[H, W, 2]`.
      valid: bool `[H, W]`.

    Returns:
      "frames": bytes `[2]`; "flow": bytes, the float32 values, little end first; "valid": a grey
      PNG, 255 where the flow is known.
    """
    return {
        "frames": np.array(list(frames), object),
        "flow": flow.astype("<f4").tobytes(),
        "valid": encode_mask(valid),
    }


def decode_record(fields: Mapping[str, Any], name: str) -> tuple[list[np.ndarray], Flow]:
    """Reverses `encode_record`, and checks.

    Args:
      fields: of a record.
      name: of the record, for the message.

    Returns:
      The frames, uint8 `[H, W, 3]` each, and the flow with its mask.

    Raises:
      Rejected: a frame that can't be decoded, parts of different sizes, unusable flow.
    """
    first, second = (image.read(frame, name) for frame in fields["frames"])
    valid = image.read(fields["valid"], name)[..., 0] > 0
    height, width = valid.shape
    size = 8 * height * width
    if not first.shape == second.shape == (height, width, 3) or len(fields["flow"]) != size:
        raise Rejected(
            "flow-of-another-size",
            f"{name}: frames {first.shape[:2]} and {second.shape[:2]}, mask {valid.shape}, "
            f"{len(fields['flow']):,} bytes of flow instead of {size:,}",
        )
    flow = np.frombuffer(fields["flow"], "<f4").reshape(height, width, 2)
    return [first, second], _checked(flow, valid, name)


def encode_mask(mask: np.ndarray) -> bytes:
    """A bool `[H, W]` as a grey PNG of 0 and 255."""
    encoded = io.BytesIO()
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(encoded, "PNG")
    return encoded.getvalue()


def _read_flo(data: bytes, name: str) -> Flow:
    width, height = struct.unpack_from("<ii", data.ljust(12, b"\0"), 4)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise Rejected("bad-flow-size", f"{name} says that it has {width} x {height} pixels")
    values, expected = len(data) - 12, 8 * width * height
    if values != expected:
        raise Rejected(
            "truncated-flow" if values < expected else "bad-flow-size",
            f"{name}: {values:,} bytes of values, {width} x {height} pixels have {expected:,}",
        )
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2)
    with np.errstate(invalid="ignore"):
        known = np.isfinite(flow) & (np.abs(flow) < UNKNOWN)
    return flow, known.all(axis=-1)


def _read_kitti(data: bytes, name: str) -> Flow:
    """Red and green are 64 (x, y) + 2^15, blue is 0 where nothing is known."""
    width, height, depth, colour = image.check_png(data, name)
    if (depth, colour) != _16_BIT_RGB:
        raise Rejected("not-a-flow", f"{name} is a PNG, but not of three times 16 bits as KITTI's")
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise Rejected("bad-flow-size", f"{name} says that it has {width} x {height} pixels")
    import av  # Pillow reads 8 of the 16 bits.

    try:
        with av.open(io.BytesIO(data), format="png_pipe") as container:
            # As it is stored: FFmpeg would convert an interlaced PNG as if its lines were of two
            # moments.
            values = next(container.decode(video=0)).to_ndarray()
    except (av.FFmpegError, StopIteration, ValueError) as error:
        text = getattr(error, "strerror", None) or "it can't be decoded"
        raise Rejected("corrupt-image", f"{name}: {text}") from None
    flow = (values[..., :2].astype(np.float32) - _KITTI_ZERO) / _KITTI_UNIT
    return flow, values[..., 2] > 0


def _checked(flow: np.ndarray, valid: np.ndarray, name: str) -> Flow:
    flow = np.where(valid[..., None], flow, 0).astype(np.float32)
    if not valid.any():
        raise Rejected("no-known-flow", f"{name}: the flow isn't known of any pixel")
    # Written so that NaN fails too.
    if not (largest := float(np.abs(flow).max())) <= MAX_DISPLACEMENT:
        raise Rejected("damaged-flow", f"{name}: a displacement of {largest:.3g} pixels")
    return flow, valid
