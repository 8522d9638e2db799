"""Images: encoded bytes to checked bytes that TensorFlow decodes, or to pixels."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, TiffImagePlugin, WebPImagePlugin

from pipelines.readers import Rejected

# Extensions by which image files are found; what is inside decides how they are read.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
)
# By content. Pillow knows more, and starts Ghostscript for one of them. What isn't loaded from the
# beginning is named by its plugin, which loads it.
_FORMATS = (
    *("BMP", "GIF", "JPEG", "PNG", "PPM"),
    TiffImagePlugin.TiffImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
)
_ORIENTATION = 0x0112  # In a photograph's EXIF: how the camera was held, and what it needs.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_JPEG_QUALITY = 95  # Of photographs that had to be turned.
_MAX_SIDE = 1_000_000  # Pixels; TensorFlow's libpng refuses more.

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # By colour type.
_PALETTE = 3  # The colour type that needs a PLTE.
# Of Adam7's passes: the first column and row, and the steps to the next ones.
_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def check(data: bytes, name: str) -> bytes:
    """Decodes an image fully and returns bytes that TensorFlow can decode.

    JPEG and PNG come back as they are, unless their EXIF says that they lie on their side or are
    mirrored: TensorFlow wouldn't look, and they are turned. Other formats and JPEGs in CMYK are
    re-encoded as PNG: `tf.io.decode_image` would refuse them in the middle of a training.

    Args:
      data: content of the file.
      name: file name, for the message.

    Returns:
      JPEG or PNG bytes.

    Raises:
      Rejected: an empty file, no image, a corrupt one, more pixels than Pillow's limit or a side
        above TensorFlow's, 32-bit values that are NaN, infinite, below 0 or above 65,535.
    """
    picture = _open(data, name)
    upright, turned = _upright(picture)
    if _tensorflow_reads(picture):
        if not turned:
            return data
        if picture.format == "JPEG":
            return _encoded(upright, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return _encoded(_as_rgb(upright, name), "PNG")


def read(data: bytes, name: str = "image") -> np.ndarray:
    """Decodes an image.

    Args:
      data: content of the file.
      name: file name, for the message.

    Returns:
      Pixels, uint8 `[H, W, 3]`, upright; grey pictures are repeated, transparency is dropped.

    Raises:
      Rejected: as `check`.
    """
    return np.asarray(_as_rgb(_upright(_open(data, name))[0], name))


def is_turned(data: bytes) -> bool:
    """Whether an image, of bytes that `check` takes, has an EXIF by which it is to be turned."""
    with Image.open(io.BytesIO(data)) as picture:
        return _turn(picture) is not None


def size(data: bytes) -> tuple[int, int]:
    """Height and width in pixels, from the header alone."""
    with Image.open(io.BytesIO(data)) as picture:
        return picture.height, picture.width


def _open(data: bytes, name: str) -> Image.Image:
    if not data:
        raise Rejected("empty-file", f"{name} has no bytes")
    with warnings.catch_warnings():
        # Above its limit Pillow warns, above twice the limit it raises: refuse both.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            limit = Image.MAX_IMAGE_PIXELS
            raise Rejected("too-many-pixels", f"{name} has more than {limit:,} pixels") from None
        except Exception as error:  # Pillow's plugins raise many kinds on bad headers.
            raise Rejected("not-an-image", f"{name}: {_one_line(error)}") from None
        try:
            picture.load()
        except Exception as error:
            raise Rejected("corrupt-image", f"{name}: {_one_line(error)}") from None
    if max(picture.size) > _MAX_SIDE:
        raise Rejected("too-many-pixels", f"{name} has a side of more than {_MAX_SIDE:,} pixels")
    if picture.format == "PNG":
        check_png(data, name)
    return picture


def check_png(data: bytes, name: str) -> tuple[int, int, int, int]:
    """Looks for damage that Pillow and FFmpeg pass over, and for which libpng refuses a PNG.

    Args:
      data: content of the file.
      name: file name, for the message.

    Returns:
      Width, height, bit depth and colour type.

    Raises:
      Rejected: a chunk that is damaged, missing, unknown or out of place, or rows that are missing.
    """
    place, kinds, header, packed = len(_PNG_MAGIC), [], b"", []
    while kinds[-1:] != [b"IEND"]:
        size, kind = struct.unpack(">I4s", data[place : place + 8].ljust(8, b"\0"))
        content, place = data[place + 4 : place + 8 + size], place + 12 + size
        checksum = data[place - 4 : place]
        if place > len(data):
            raise Rejected("corrupt-image", f"{name}: its end is cut off")
        if kind.isalpha() and kind[:1].islower():  # One that needn't be understood.
            kinds.append(b"")
            continue
        whole = kind.isalpha() and checksum == struct.pack(">I", zlib.crc32(content))
        if kind == b"PLTE" and (size % 3 or not 0 < size <= 3 * 256):
            whole = False
        if not whole:
            raise Rejected("corrupt-image", f"{name}: a chunk of the PNG is damaged")
        kinds.append(kind)
        header = content[4:] if kind == b"IHDR" else header
        if kind == b"IDAT":
            packed.append(content[4:])
    _check_order(kinds, header, name)
    width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", header)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    bits, expected = depth * _PNG_CHANNELS.get(colour, 0), 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        expected += rows * (1 + -(-columns * bits // 8)) if columns > 0 else 0
    if (have := _inflated_size(packed, name)) < expected:
        raise Rejected("corrupt-image", f"{name} has {have:,} of {expected:,} bytes of pixels")
    return width, height, depth, colour


def _check_order(kinds: list[bytes], header: bytes, name: str) -> None:
    """Holds a PNG's critical chunks, b"" for others, against what libpng takes.

    Raises:
      Rejected: it wouldn't.
    """
    first = kinds.index(b"IDAT") if b"IDAT" in kinds else len(kinds)
    unknown = set(kinds) - {b"", b"IHDR", b"PLTE", b"IDAT", b"IEND"}
    reason = None
    if unknown:
        reason = f"a chunk {sorted(unknown)[0].decode('latin-1')!r} that no decoder knows"
    elif kinds[0] != b"IHDR" or kinds.count(b"IHDR") > 1 or len(header) != 13:
        reason = "it needs one header of 13 bytes"
    elif header[10:12] != b"\0\0" or header[12] > 1:
        reason = "packed or interlaced as no decoder knows"
    elif kinds.count(b"PLTE") > 1 or (header[9] == _PALETTE and b"PLTE" not in kinds[:first]):
        reason = "it needs one palette before its pixels"
    elif set(kinds[first : first + kinds.count(b"IDAT")]) != {b"IDAT"}:
        reason = "its pixels are missing or come in several places"
    if reason:
        raise Rejected("corrupt-image", f"{name}: no PNG for TensorFlow, {reason}; save it anew")


def _inflated_size(packed: list[bytes], name: str) -> int:
    """Bytes that a zlib stream in pieces holds, of which none is kept.

    Raises:
      Rejected: it is damaged, or has no end.
    """
    stream, size = zlib.decompressobj(), 0
    for piece in packed:
        while piece and not stream.eof:
            try:
                size += len(stream.decompress(piece, 2**20))
            except zlib.error as error:
                raise Rejected("corrupt-image", f"{name}: {_one_line(error)}") from None
            piece = stream.unconsumed_tail
    if not stream.eof:
        raise Rejected("corrupt-image", f"{name}: its pixels are cut off")
    return size


def _tensorflow_reads(picture: Image.Image) -> bool:
    if picture.format == "JPEG":
        return picture.mode in ("L", "RGB")
    return picture.format == "PNG"


def _upright(picture: Image.Image) -> tuple[Image.Image, bool]:
    """The picture as it is to be seen, and whether it had to be turned; then without its EXIF."""
    turn = _turn(picture)
    if turn is None:
        return picture, False
    turned = picture.transpose(turn)
    turned.info = {}
    return turned, True


def _turn(picture: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(picture.getexif().get(_ORIENTATION))
    except Exception:  # An EXIF that is damaged says nothing; Pillow raises many kinds.
        return None


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _as_rgb(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode.startswith("I;16"):  # Pillow would clip 16-bit grey to 255.
        high_byte = (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
        picture = Image.fromarray(high_byte, "L")
    elif picture.mode in ("I", "F"):  # 32-bit: of unknown range.
        values = np.asarray(picture, np.float64)
        if not np.isfinite(values).all():
            raise Rejected("not-finite", f"{name} holds NaN or infinity")
        low, high = values.min(), values.max()
        if low < 0 or high > 65_535:
            raise Rejected(
                "out-of-range", f"{name} holds values from {low:g} to {high:g}; save it with 8 bits"
            )
        if picture.mode == "F" and high <= 1:
            values = np.rint(255 * values)
        elif high > 255:  # Taken as 16-bit.
            values = values / 256
        picture = Image.fromarray(values.astype(np.uint8), "L")
    return picture.convert("RGB")


def _one_line(error: Exception) -> str:
    # Pillow names the buffer's address ("<_io.BytesIO object at 0x...>"): the same on no two runs.
    text = " ".join(str(error).split()) or type(error).__name__
    return "cannot identify image file" if "cannot identify" in text else text
