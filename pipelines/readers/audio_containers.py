"""What containers of sound say of their content, where decoders pass over damage in silence."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.readers import Rejected

# By the first four bytes: name and size of a chunk, where the first one is, at multiples of what
# they begin, and the name of the one that holds the samples. WAV, the same with big numbers first,
# the same with sizes of 64 bits (two names), AIFF, Core Audio, Wave64.
_CHUNKS = {
    b"RIFF": ("<4sI", 12, 2, b"data"),
    b"RIFX": (">4sI", 12, 2, b"data"),
    b"RF64": ("<4sI", 12, 2, b"data"),
    b"BW64": ("<4sI", 12, 2, b"data"),
    b"FORM": (">4sI", 12, 2, b"SSND"),
    b"caff": (">4sq", 8, 1, b"data"),
    b"riff": ("<16sq", 40, 8, b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a"),
}
_COUNTS_ITS_HEADER = b"riff"  # The size of a chunk.
_WAVES = (b"RIFF", b"RIFX")
_WIDE_WAVES = (b"RF64", b"BW64")  # A chunk "ds64" holds their sizes: of the file, of the samples.
_CAF_EDITS = 4  # Bytes before the samples of Core Audio, which count.
_MPEG_TAGS = (0x50, 0x55)  # WAVE_FORMAT_MPEG and WAVE_FORMAT_MPEGLAYER3.
# Samples of streamed files have a size a little below 2^31 or 2^32, or 0; no sound of
# `MAX_SECONDS` is as large.
_UNKNOWN_SIZE = 0x7FFF0000
_NO_SIZES = (0, 0xFFFFFFFF)
# A page of Ogg: the header's last byte is the number of lengths that follow, then come the data.
_PAGE_HEADER = struct.Struct("<4sBBqIIIB")
_CHECKSUM = slice(22, 26)
_FIRST_PAGE, _LAST_PAGE = 2, 4
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FLAC_COUNT = slice(21, 26)  # The last 36 bits of it.


def check(data: bytes, name: str) -> None:
    """Looks for what decoders pass over in silence.

    Raises:
      Rejected: a file that ends before its samples do, a WAV file with samples in two places or
        with other chunks in place of samples, an Ogg file with a page that is damaged or missing.
    """
    kind = data[:4]
    if kind == b"OggS":
        _check_pages(data, name)
    if kind == b".snd":
        start, size = struct.unpack_from(">2I", data.ljust(12, b"\0"), 4)
        have = len(data) - start
    else:
        place, size = _chunk(data, _CHUNKS[kind][-1]) if kind in _CHUNKS else (0, 0)
        have = len(data) - place
    if kind in _WIDE_WAVES and size == _NO_SIZES[-1]:
        sizes, _ = _chunk(data, b"ds64")
        size = int.from_bytes(data[sizes + 8 : sizes + 16], "little") if sizes else size
    if have < size < _UNKNOWN_SIZE:
        raise Rejected(
            "truncated-sound", f"{name} has {max(have, 0):,} of {size:,} bytes of samples"
        )
    # FFmpeg takes whatever follows for the samples of a streamed file.
    empty = kind in _WAVES and place and size in _NO_SIZES and _are_chunks(data, place)
    if empty or (kind == b"caff" and place and 0 <= size <= _CAF_EDITS):
        raise Rejected("no-samples", f"{name}: its sound is empty")
    if kind in _WAVES and size and _chunk(data, b"data", place + size + size % 2)[0]:
        raise Rejected("corrupt-sound", f"{name} has two chunks of samples; cut it into two files")


def is_chained(data: bytes) -> bool:
    """Whether an Ogg file holds several sounds, one after the other: a page begins one again."""
    begun = False
    for page in _pages(data):
        if page.first and begun:
            return True
        begun = begun or not page.first
    return False


def is_mpeg(data: bytes) -> bool:
    """Whether a WAV file holds MPEG audio."""
    if data[:4] != b"RIFF":
        return False
    place, size = _chunk(data, b"fmt ")
    return size >= 2 and int.from_bytes(data[place : place + 2], "little") in _MPEG_TAGS


def is_streamed_flac(data: bytes) -> bool:
    """Whether a FLAC file says no number of samples: its encoder could not go back to write it."""
    return data[:4] == b"fLaC" and not int.from_bytes(data[_FLAC_COUNT], "big") % 2**36


def _chunk(data: bytes, wanted: bytes, place: int = 0) -> tuple[int, int]:
    """Where a chunk of that name begins, and its size; (0, 0) without one.

    Looked at are the chunks from `place` on, by default all.
    """
    layout, first, multiple, _ = _CHUNKS[data[:4]]
    header = struct.calcsize(layout)
    place = place or first
    while place + header <= len(data):
        kind, size = struct.unpack_from(layout, data, place)
        if data[:4] == _COUNTS_ITS_HEADER:
            size -= header
        place += header
        if kind == wanted:
            return place, size
        if size < 0:  # To the end of the file, or damaged.
            break
        place += -(-size // multiple) * multiple
    return 0, 0


def _are_chunks(data: bytes, place: int) -> bool:
    """Whether from `place` to the end there are whole chunks with legible names, or nothing.

    Silence would be chunks without a name, any other sound hardly ends where they do.
    """
    layout, _, multiple, _ = _CHUNKS[data[:4]]
    header = struct.calcsize(layout)
    while place + header <= len(data):
        kind, size = struct.unpack_from(layout, data, place)
        if not all(0x20 <= byte < 0x7F for byte in kind):
            return False
        place += header + -(-size // multiple) * multiple
    return 0 <= place - len(data) < multiple  # The last one's padding is left out by some.


class _Page(NamedTuple):
    """A page of Ogg; several tracks have pages in turn, each with a serial number."""

    start: int
    end: int
    flags: int
    serial: int
    number: int

    @property
    def first(self) -> bool:
        """Whether a track begins."""
        return bool(self.flags & _FIRST_PAGE)

    @property
    def last(self) -> bool:
        """Whether a track ends."""
        return bool(self.flags & _LAST_PAGE)


def _pages(data: bytes) -> Iterator[_Page]:
    """The whole pages that follow on one another from the file's start."""
    place = 0
    while data[place : place + 4] == b"OggS" and place + _PAGE_HEADER.size <= len(data):
        _, _, flags, _, serial, number, _, count = _PAGE_HEADER.unpack_from(data, place)
        body = place + _PAGE_HEADER.size + count
        end = body + sum(data[body - count : body])
        if max(body, end) > len(data):
            break
        yield _Page(place, end, flags, serial, number)
        place = end


def _check_pages(data: bytes, name: str) -> None:
    """Checks all of an Ogg file. Decoders skip a damaged page, and seconds of sound with it.

    Raises:
      Rejected: a page that is damaged, missing, or cut.
    """
    expected: dict[int, int] = {}  # By the track's serial number: the next page's number.
    end, ended, begun = 0, False, False
    for page in _pages(data):
        if not _is_intact(data[page.start : page.end]):
            raise Rejected("corrupt-sound", f"{name}: its page at byte {page.start:,} is damaged")
        again = page.first and begun  # The next sound of a chain, maybe with the same number.
        if (again and not ended) or (not page.first and expected.get(page.serial) != page.number):
            raise Rejected("corrupt-sound", f"{name}: a page is missing at byte {page.start:,}")
        if again:
            expected = {}
        expected[page.serial] = (page.number + 1) % 2**32
        end, ended, begun = page.end, page.last, not page.first
    if data[end : end + 4] != b"OggS" and b"OggS" in data[end:]:
        raise Rejected("corrupt-sound", f"{name}: no page begins at byte {end:,}, but later")
    if not ended or data[end : end + 4] == b"OggS":
        raise Rejected("truncated-sound", f"{name}: its last page is missing")


def _is_intact(page: bytes) -> bool:
    """Whether a page's checksum is right. It is that of zlib with all bits mirrored, from 0 on."""
    blank = page[: _CHECKSUM.start] + bytes(4) + page[_CHECKSUM.stop :]
    found = zlib.crc32(blank.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return found.to_bytes(4, "big").translate(_MIRRORED) == page[_CHECKSUM]
