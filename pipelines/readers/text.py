"""Text: bytes of a file, checked to be UTF-8, and cut into pieces between words."""

from __future__ import annotations

import re

from pipelines.readers import Rejected

SUFFIXES = frozenset({".adoc", ".log", ".markdown", ".md", ".org", ".rst", ".tex", ".text", ".txt"})
"""Extensions by which text files are found; files without any, such as LICENSE, are texts too."""

SPACES = b" \t\n\v\f\r"
"""The bytes between words, here and where words are masked."""

MIN_PIECE = 16  # Bytes; four characters of the longest kind.

_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")  # Of UTF-16, little and big end first; UTF-32 has them too.
_SPACE = re.compile(rb"[ \t-\r]")


def read(data: bytes, name: str) -> bytes:
    """A text, without a byte-order mark.

    Args:
      data: content of the file.
      name: file name, for the message.

    Returns:
      UTF-8 with at least one word; everything else of the content stays as it is.

    Raises:
      Rejected: as `check`; an empty file.
    """
    if not data:
        raise Rejected("empty-file", f"{name} has no bytes")
    if data.startswith(_WIDE_BOMS):
        raise Rejected("not-utf8", f"{name} is UTF-16 or UTF-32; convert it to UTF-8 (iconv)")
    return check(data.removeprefix(_BOM), name)


def check(data: bytes, name: str) -> bytes:
    """A text, or a piece of one.

    Raises:
      Rejected: it is not UTF-8, has a zero byte as binary files have, or has no word.
    """
    if (place := data.find(0)) >= 0:
        raise Rejected("binary-file", f"{name}: byte {place:,} is zero, so it is no text")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise Rejected(
            "not-utf8", f"{name}: byte {error.start:,} is no UTF-8; convert it (iconv)"
        ) from None
    if not data.strip(SPACES):
        raise Rejected("no-words", f"{name} is nothing but spaces")
    return data


def starts(data: bytes, longest: int) -> list[int]:
    """Where the pieces of a text begin, for `end` to say where they end.

    Args:
      data: the text, UTF-8.
      longest: bytes of a piece, at least `MIN_PIECE`.

    Returns:
      Offsets of the pieces that have a word; together with those of spaces alone, which are left
      out, the pieces are the whole text.
    """
    found, start = [], 0
    while start < len(data):
        stop = start + end(data[start : start + longest + 1], longest)
        if data[start:stop].strip(SPACES):
            found.append(start)
        start = stop
    return found


def end(data: bytes, longest: int) -> int:
    """Length of the first piece of a text, at most `longest` bytes.

    It ends behind a space; only within a word that is longer itself, between two characters.

    Args:
      data: the text from the piece's beginning on; more than `longest` + 1 bytes are not looked at.
      longest: at least `MIN_PIECE`.
    """
    if len(data) <= longest:
        return len(data)
    for place in range(longest, 0, -1):
        if data[place - 1] in SPACES:
            return place
    place = longest
    while data[place] & 0xC0 == 0x80:  # A character's later bytes.
        place -= 1
    return place


def words(data: bytes) -> int:
    """Number of words, as spaces divide them."""
    return len([word for word in _SPACE.split(data) if word])
