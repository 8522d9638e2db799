"""Texts: what is one, and pieces that end between words and lose nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.readers import Rejected, text


def pieces(data: bytes, longest: int) -> list[bytes]:
    begin = text.starts(data, longest)
    return [data[i : i + text.end(data[i : i + longest + 1], longest)] for i in begin]


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (b"", "empty-file", "a.txt has no bytes"),
        (b" \n\t \r\n", "no-words", "a.txt is nothing but spaces"),
        ("naïve".encode("latin-1"), "not-utf8", r"a.txt: byte 2 is no UTF-8; convert it \(iconv\)"),
        (b"whole \xe2\x82", "not-utf8", "byte 6 is no UTF-8"),
        ("word".encode("utf-16"), "not-utf8", "a.txt is UTF-16 or UTF-32; convert"),
        (b"\x89PNG\0\0", "binary-file", "byte 4 is zero, so it is no text"),
    ],
)
def test_what_is_no_text_is_rejected(data, reason, detail):
    with pytest.raises(Rejected, match=detail) as caught:
        text.read(data, "a.txt")
    assert caught.value.reason == reason


def test_a_text_stays_as_it_is_but_for_the_mark_in_front():
    assert text.read(b"\xef\xbb\xbf a\r\nb \n", "a.txt") == b" a\r\nb \n"
    assert text.read("日本語".encode(), "a.txt") == "日本語".encode()


@given(
    st.text(st.sampled_from("ab \n\té日𝄞"), min_size=0, max_size=300),
    st.integers(text.MIN_PIECE, 40),
)
def test_pieces_are_the_text_cut_between_words(string, longest):
    data = string.encode()
    found = pieces(data, longest)
    assert all(0 < len(piece) <= longest for piece in found)
    assert all(piece.decode().strip(" \n\t") for piece in found)
    # Nothing is lost but pieces of spaces, and no word is cut that would have fitted.
    assert b"".join(b"".join(found).split()) == b"".join(data.split())
    for begin, piece in zip(text.starts(data, longest), found, strict=True):
        assert data[begin : begin + len(piece)] == piece
        following = data[begin + len(piece) :][:1]
        if following and piece[-1] not in text.SPACES and following not in text.SPACES:
            word = piece.split()[-1]
            assert len(word) == len(piece)  # It fills the whole piece: longer than one.


def test_pieces_of_words_that_fit_hold_as_many_as_they_can():
    assert pieces(b"four five sixes seven", 16) == [b"four five sixes ", b"seven"]
    assert pieces(b"four five sixes7 seven", 16) == [b"four five ", b"sixes7 seven"]
    assert pieces(b"x" * 40, 16) == [b"x" * 16, b"x" * 16, b"x" * 8]
    assert pieces("é".encode() * 9, 17) == ["é".encode() * 8, "é".encode()]
    assert pieces(b"a" + b" " * 60 + b"b", 16) == [b"a" + b" " * 15, b" " * 12 + b" b"]


def test_words_are_what_spaces_divide():
    assert text.words(b" one\n two,three \t\v four ") == 3
