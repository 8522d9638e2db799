"""Images: encoded bytes to checked bytes that TensorFlow decodes, or to pixels."""

from __future__ import annotations

import io
import warnings

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
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"  # The last chunk: empty, and so always these bytes.


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
      Rejected: an empty file, no image, a corrupt one, more pixels than Pillow's limit, floats
        that are NaN or infinite.
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
    # Pillow stops at the last pixel, TensorFlow insists on the end.
    if picture.format == "PNG" and _PNG_END not in data:
        raise Rejected("corrupt-image", f"{name}: its end is cut off")
    return picture


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
    elif picture.mode in (
        "I",
        "F",
    ):  # 32-bit: of unknown range, taken as 16-bit where it exceeds 8.
        values = np.asarray(picture, np.float64)
        if not np.isfinite(values).all():
            raise Rejected("not-finite", f"{name} holds NaN or infinity")
        scale = 256 if values.max(initial=0) > 255 else 1
        picture = Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8), "L")
    return picture.convert("RGB")


def _one_line(error: Exception) -> str:
    # Pillow names the buffer's address ("<_io.BytesIO object at 0x...>"): the same on no two runs.
    text = " ".join(str(error).split()) or type(error).__name__
    return "cannot identify image file" if "cannot identify" in text else text
