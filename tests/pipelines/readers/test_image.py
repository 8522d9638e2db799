"""The image reader on files that real encoders wrote, whole and damaged."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.readers import Rejected, image


def picture(mode: str = "RGB", size: tuple[int, int] = (20, 12)) -> Image.Image:
    rows, columns = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([rows * 12, columns * 9, rows + columns], -1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image_format: str, mode: str = "RGB", **options) -> bytes:
    buffer = io.BytesIO()
    picture(mode).save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("image_format", "mode"),
    [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1")],
)
def test_jpeg_and_png_are_kept_as_they_are(image_format, mode):
    data = encoded(image_format, mode)
    assert image.check(data, "x") is data


@pytest.mark.parametrize(
    ("image_format", "mode"),
    [("JPEG", "CMYK"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"), ("WEBP", "RGB")],
)
def test_what_tensorflow_cannot_read_becomes_png_with_the_same_pixels(image_format, mode):
    data = encoded(image_format, mode)
    checked = image.check(data, "x")
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(tf.io.decode_png(checked).numpy(), expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_read_gives_the_pixels_that_tensorflow_gives(mode):
    data = encoded("PNG", mode)
    expected = tf.io.decode_png(data, channels=3).numpy()
    np.testing.assert_array_equal(image.read(data), expected)
    assert image.size(data) == (12, 20)


def test_sixteen_bit_grey_keeps_its_high_byte():
    values = np.array([[0, 255, 256], [40_000, 65_280, 65_535]], np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    np.testing.assert_array_equal(image.read(buffer.getvalue())[..., 0], values >> 8)
    np.testing.assert_array_equal(tf.io.decode_png(buffer.getvalue())[..., 0], values >> 8)


def test_a_damaged_exif_says_nothing():
    data = photograph(6).replace(b"Exif\0\0MM\0*", b"Exif\0\0M?\0*")
    assert data != photograph(6)
    assert image.check(data, "x") is data


def floats(value: float) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((3, 4), value, np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


def thirty_two_bits(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    return buffer.getvalue()


GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize(
    "values",
    [
        GREYS.astype(np.float32) / 255,
        GREYS.astype(np.float32),
        GREYS.astype(np.float32) * 257,
        GREYS.astype(np.int32),
        GREYS.astype(np.int32) * 257,
    ],
)
def test_values_of_thirty_two_bits_become_eight(values):
    data = thirty_two_bits(values)
    np.testing.assert_array_equal(image.read(data)[..., 0], GREYS)
    np.testing.assert_array_equal(tf.io.decode_image(image.check(data, "x"))[..., 1], GREYS)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (GREYS.astype(np.int32) * 2**22, "from 0 to 1.06955e.09"),
        (GREYS.astype(np.int32) - 128, "from -128 to 127"),
        (GREYS.astype(np.float32) / 127.5 - 1, "from -1 to 1"),
    ],
)
def test_values_of_which_no_picture_can_be_made_are_rejected(values, said):
    with pytest.raises(Rejected, match=f"out-of-range: x holds values {said}; save it with 8 bits"):
        image.check(thirty_two_bits(values), "x")


def photograph(orientation: int, image_format: str = "JPEG", mode: str = "RGB") -> bytes:
    """A picture whose EXIF says how the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image_format, mode, exif=exif)


TURNS = {  # By orientation: what makes the picture upright.
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, 1),
}


@pytest.mark.parametrize(("image_format", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB")])
@pytest.mark.parametrize("orientation", TURNS)
def test_photographs_are_turned_upright(orientation, image_format, mode):
    data = photograph(orientation, image_format, mode)
    checked = image.check(data, "x")
    assert (checked is data) == (orientation == 1)
    stored = tf.io.decode_image(data, channels=3).numpy()
    shown = tf.io.decode_image(checked, channels=3).numpy().astype(float)
    np.testing.assert_allclose(shown, TURNS[orientation](stored), atol=12)
    assert np.abs(shown - TURNS[orientation](stored)).mean() < 2
    read = image.read(data).astype(float)  # Two decoders of JPEG round differently.
    np.testing.assert_allclose(read, TURNS[orientation](stored), atol=4)
    assert image.check(checked, "x") is checked


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty-file"),
        (b"<html>404</html>", "not-an-image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not-an-image"),
        (floats(np.nan), "not-finite"),
        (encoded("JPEG")[:-40], "corrupt-image"),
        (encoded("PNG")[:-40], "corrupt-image"),
        (encoded("PNG")[:-6], "corrupt-image"),  # Every pixel is there; TensorFlow refuses it.
        (encoded("PNG").replace(b"IDATx", b"IDATy"), "corrupt-image"),
    ],
    ids=["empty", "text", "program", "nan", "cut-jpeg", "cut-png", "no-end", "changed-byte"],
)
def test_bad_files_are_rejected_by_reason(data, reason):
    with pytest.raises(Rejected) as caught:
        image.check(data, "cat/7.png")
    assert caught.value.reason == reason
    assert "cat/7.png" in caught.value.detail
    assert "0x" not in caught.value.detail  # An address would differ from run to run.


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(
    *between: bytes, rows: int = 5, colour: int = 2, rest: bytes = b"\0\0\0", cut: int = 0
) -> bytes:
    """7 x 5 pixels, with chunks between the header and the pixels."""
    line = b"\0" + bytes(range(7 * (1 if colour == 3 else 3)))
    header = struct.pack(">IIBB", 7, 5, 8, colour) + rest
    body = chunk(b"IDAT", zlib.compress(rows * line)[: -cut or None])
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), *between, body, chunk(b"IEND", b"")]
    )


PALETTE = chunk(b"PLTE", bytes(range(24)))


def refused_by_tensorflow(data: bytes) -> bool:
    try:
        tf.io.decode_image(data, channels=3)
    except tf.errors.InvalidArgumentError:
        return True
    return False


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (png(rows=4), "x has 88 of 110 bytes of pixels"),
        (png(cut=3), "x: its pixels are cut off"),
        (png(chunk(b"PLTE", bytes(17)), colour=3), "x: a chunk of the PNG is damaged"),
        (png(chunk(b"aBc1", b"x")), "x: a chunk of the PNG is damaged"),
        (png(chunk(b"ABCD", b"x")), "x: no PNG for TensorFlow, a chunk 'ABCD' that no decoder"),
        (png(colour=3), "x: no PNG for TensorFlow, it needs one palette before its pixels"),
        (png(PALETTE, PALETTE, colour=3), "it needs one palette before its pixels; save it anew"),
        (png(chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 8, 2, 0, 0, 0))), "one header of 13"),
        (png(rest=b"\1\0\0"), "packed or interlaced as no decoder knows"),
        (png().replace(chunk(b"IEND", b""), b"\0\0\0\0IEND...."), "a chunk of the PNG is damaged"),
    ],
)
def test_pngs_that_tensorflow_would_refuse_are_rejected(data, said):
    assert refused_by_tensorflow(data)
    with pytest.raises(Rejected, match=said) as caught:
        image.check(data, "x")
    assert caught.value.reason == "corrupt-image"


@pytest.mark.parametrize(
    "data",
    [
        png(),
        png(PALETTE, colour=3),
        png(PALETTE),
        png(chunk(b"abCd", b"x")),
        png(rows=9),
        png() + b"behind the end",
    ],
)
def test_pngs_that_tensorflow_reads_are_kept(data):
    assert image.check(data, "x") is data
    np.testing.assert_array_equal(image.read(data), tf.io.decode_image(data, channels=3))


def test_sides_that_tensorflow_would_refuse_are_rejected():
    for image_format in ("PNG", "PPM"):
        buffer = io.BytesIO()
        Image.new("L", (1, 1_000_001)).save(buffer, image_format)
        with pytest.raises(Rejected, match="too-many-pixels: x has a side of more than 1,000,000"):
            image.check(buffer.getvalue(), "x")


def test_decompression_bombs_are_rejected_before_decoding(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    for limit in (200, 100):  # Pillow warns above its limit and raises above twice that.
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(Rejected, match=f"too-many-pixels: bomb has more than {limit} pixels"):
            image.check(encoded("PNG"), "bomb")


@given(cut=st.integers(0, 400), image_format=st.sampled_from(["JPEG", "PNG"]))
def test_no_truncated_image_passes_that_tensorflow_would_refuse(cut, image_format):
    data = encoded(image_format)[: -cut or None]
    try:
        image.check(data, "x")
    except Rejected:
        return
    tf.io.decode_image(data, channels=3)
