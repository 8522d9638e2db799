"""Flow files: values to the bit from real encoders, and what is no good rejected by its reason."""

from __future__ import annotations

import io
import struct
import zlib

import cv2  # Comes with tf-models-official; only here, as an encoder that isn't ours.
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from pipelines.readers import Rejected, flow


def kitti_png(field: np.ndarray, valid: np.ndarray) -> bytes:
    """KITTI's file as its devkit defines it, encoded by libpng."""
    u, v = np.moveaxis(np.rint(field * 64 + 2**15).astype(np.uint16), -1, 0)
    return cv2.imencode(".png", np.stack([valid.astype(np.uint16), v, u], -1))[1].tobytes()


def picture(height: int, width: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


FIELD = np.random.default_rng(0).normal(0, 20, (5, 7, 2)).astype(np.float32)
KNOWN = np.random.default_rng(1).random((5, 7)) < 0.6


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(2)),
        elements=st.floats(-9_999, 9_999, width=32),
    )
)  # fmt: skip
def test_flo_comes_back_to_the_bit(field):
    back, valid = flow.read(flow.encode_flo(field), "a.flo")
    assert back.tobytes() == field.tobytes()
    assert back.dtype == np.float32
    assert valid.all()


def test_flo_is_middleburys_layout():
    data = flow.encode_flo(FIELD)
    assert struct.unpack_from("<fii", data) == (202021.25, 7, 5)
    x, y = struct.unpack_from("<ff", data, 12 + 8 * (2 * 7 + 3))  # Row 2, column 3.
    assert (x, y) == tuple(FIELD[2, 3])


@pytest.mark.parametrize("mark", [np.nan, np.inf, -np.inf, 1e10, -1.7e9])
def test_unknown_values_are_masked(mark):
    field = FIELD.copy()
    field[1, 2, 0] = field[4, 6, 1] = mark
    back, valid = flow.read(flow.encode_flo(field), "a.flo")
    expected = np.ones((5, 7), bool)
    expected[1, 2] = expected[4, 6] = False
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(back, np.where(expected[..., None], FIELD, 0))


def test_a_mask_survives_flo():
    back, valid = flow.read(flow.encode_flo(FIELD, KNOWN), "a.flo")
    np.testing.assert_array_equal(valid, KNOWN)
    np.testing.assert_array_equal(back, np.where(KNOWN[..., None], FIELD, 0))


def test_kittis_png_is_exact():
    field = np.rint(FIELD * 64) / 64
    field[0, 0] = (-512, 511.984375)  # The first and the last that 16 bits hold.
    valid = KNOWN.copy()
    valid[0, 0] = True
    back, known = flow.read(kitti_png(field, valid), "a.png")
    np.testing.assert_array_equal(known, valid)
    np.testing.assert_array_equal(back, np.where(valid[..., None], field, 0))


def interlaced(pixels: np.ndarray) -> bytes:
    """A 16-bit PNG in Adam7's passes, uint16 `[H, W, 3]`, as the standard lays them out."""
    height, width, _ = pixels.shape
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)]
    lines = [
        b"\0" + line.astype(">u2").tobytes()
        for left, top, across, down in [*steps, (1, 0, 2, 2), (0, 1, 1, 2)]
        for line in pixels[top::down, left::across]
        if line.size
    ]
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in [
        (b"IHDR", header), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b""),
    ]:  # fmt: skip
        checksum = zlib.crc32(kind + content)
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    return data


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (24, 16), (16, 24), (100, 100), (37, 61)])
def test_interlaced_pngs_are_exact(size):
    pixels = np.random.default_rng(0).integers(0, 2**16, (*size, 3), np.uint16)
    pixels[0, 0, 2] = 1
    data = interlaced(pixels)
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read[..., ::-1], pixels)
    field, known = flow.read(data, "a.png")
    np.testing.assert_array_equal(known, pixels[..., 2] > 0)
    expected = (pixels[..., :2].astype(np.float32) - 2**15) / 64
    np.testing.assert_array_equal(field, np.where(known[..., None], expected, 0))


FLO = flow.encode_flo(FIELD)
KITTI = kitti_png(FIELD, KNOWN)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty-file"),
        (b"P6 3 4 255 " + bytes(36), "not-a-flow"),
        (FLO[:-1], "truncated-flow"),
        (FLO[:9], "truncated-flow"),
        (FLO[:4] + struct.pack("<ii", -7, 5) + FLO[12:], "bad-flow-size"),
        (FLO[:4] + struct.pack("<ii", 2**30, 2**30) + FLO[12:], "bad-flow-size"),
        (FLO + b"\0", "bad-flow-size"),
        (flow.encode_flo(np.full((2, 3, 2), np.nan, np.float32)), "no-known-flow"),
        (flow.encode_flo(np.full((2, 3, 2), 1e6, np.float32)), "damaged-flow"),
        (kitti_png(FIELD, np.zeros((5, 7))), "no-known-flow"),
        (KITTI[:-20], "corrupt-image"),
        (KITTI[:60] + bytes([KITTI[60] ^ 4]) + KITTI[61:], "corrupt-image"),
        (picture(5, 7), "not-a-flow"),
        (cv2.imencode(".png", np.ones((5, 7), np.uint16))[1].tobytes(), "not-a-flow"),
    ],
)
def test_what_is_no_good_is_rejected(data, reason):
    with pytest.raises(Rejected, match="a.flo") as caught:
        flow.read(data, "a.flo")
    assert caught.value.reason == reason


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "PPM"])
def test_a_record_comes_back(kind):
    files = [picture(5, 7, kind), picture(5, 7, kind, "L")]
    frames, size = flow.check_frames(files, ("1", "2"))
    assert size == (5, 7)
    fields = flow.encode_record(frames, FIELD, KNOWN)
    assert fields["frames"].shape == (2,)
    decoded, (field, valid) = flow.decode_record(fields, "record 0")
    for frame, file in zip(decoded, files, strict=True):
        np.testing.assert_array_equal(frame, Image.open(io.BytesIO(file)).convert("RGB"))
    np.testing.assert_array_equal(field, np.where(KNOWN[..., None], FIELD, 0))
    np.testing.assert_array_equal(valid, KNOWN)


def test_frames_of_two_sizes_are_rejected():
    with pytest.raises(Rejected, match="1.png has 7 x 5 pixels, 2.png 8 x 5"):
        flow.check_frames([picture(5, 7), picture(5, 8)], ("1.png", "2.png"))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"flow": FIELD.tobytes()[:-4]}, "flow-of-another-size"),
        ({"valid": flow.encode_mask(KNOWN[:4])}, "flow-of-another-size"),
        ({"valid": flow.encode_mask(KNOWN & False)}, "no-known-flow"),
        ({"flow": np.full((5, 7, 2), np.nan, np.float32).tobytes()}, "damaged-flow"),
        ({"frames": np.array([picture(5, 7), b"x"], object)}, "not-an-image"),
    ],
)
def test_a_damaged_record_is_rejected(changed, reason):
    fields = flow.encode_record([picture(5, 7), picture(5, 7)], FIELD, KNOWN) | changed
    with pytest.raises(Rejected, match="record 3") as caught:
        flow.decode_record(fields, "record 3")
    assert caught.value.reason == reason
