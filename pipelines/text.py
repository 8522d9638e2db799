"""Text as bytes: tokens of a fixed length, framed for sentences, or with whole words masked.

A token is a byte plus six; the ids below are special (Perceiver IO, ICLR 2022, section 4.1, with
the numbers of its published checkpoint). A text that is longer than the model's length is cut at
its end.

A masked language model learns from words that the pipeline hides, 15 % of them as in the paper,
words being what spaces divide: in training others each time, in evaluation those that the record's
key decides. In a served text whoever asks has hidden bytes, each by `[MASK]`.

Every random number is drawn statelessly from the seed that the caller gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipelines.readers.text import SPACES
from pipelines.records import Feature

FEATURES = {"text": Feature("bytes"), "key": Feature("bytes")}
"""What the records of a text dataset must hold."""

PAD, BOS, EOS, MASK, CLS, SEP = range(6)
SPECIAL = 6
VOCABULARY = SPECIAL + 256

HIDDEN = "[MASK]"
"""One hidden byte of a served text."""

_NO_UTF8 = 0xFF  # A byte that no UTF-8 has; it stands for a hidden one inside the graph.
_TAB = ord("\t") + SPECIAL


def check(cfg: Any) -> None:
    """Checks `config.data.text` before any work is done.

    Args:
        cfg: the `data.text` section of a config.

    Raises:
        ValueError: a length without room for text, a share outside [0, 1), or masks in sentences.
    """
    if cfg.length < 8:
        raise ValueError(f"config.data.text.length={cfg.length} must be at least 8")
    if not 0 <= cfg.mask_share < 1:
        raise ValueError(
            f"config.data.text.mask_share={cfg.mask_share} must lie in [0, 1): it is the share of "
            "words that are hidden, 0 for a task with labels"
        )
    if cfg.mask_share and cfg.sentences:
        raise ValueError(
            "config.data.text: words are hidden in texts as they are; set mask_share=0 or "
            "sentences=False"
        )


def shape(cfg: Any) -> tuple[int]:
    """Shape (length,) of one prepared text."""
    return (cfg.length,)


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Tokens of a text, with other words masked every time.

    Args:
        fields: "text": string scalar, UTF-8.
        cfg: the `data.text` section of a config.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        As `prepare_eval` of a record.
    """
    tokens = _tokens(fields["text"], cfg)
    return _masked(tokens, cfg, seed) if cfg.mask_share else _inputs(tokens)


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """Tokens of a text as evaluation and serving see it.

    Args:
        fields: "text": string scalar, UTF-8; "key" of a record, which decides what is masked.
            Without a key the text is served: nothing is masked but each `[MASK]`, as one byte.
        cfg: the `data.text` section of a config.

    Returns:
        "text": int32 `[length]`, padded with 0; "text_mask": bool `[length]`, whether there is a
        token. With words masked by the pipeline also "target": int32 `[length]`, the tokens before,
        and "masked": bool `[length]`.
    """
    if not cfg.mask_share:
        return _inputs(_tokens(fields["text"], cfg))
    if "key" in fields:
        # FarmHash: the same number on every machine and in every version.
        number = tf.strings.to_hash_bucket_fast(fields["key"], 2**62)
        return _masked(_tokens(fields["text"], cfg), cfg, tf.stack([number, 0]))
    text = tf.strings.regex_replace(fields["text"], r"\[MASK\]", bytes([_NO_UTF8]))
    tokens = _tokens(text, cfg)
    return _inputs(tf.where(tf.equal(tokens, _NO_UTF8 + SPECIAL), MASK, tokens))


def shown(fields: Mapping[str, tf.Tensor], cfg: Any) -> tf.Tensor:
    """The text for people to look at.

    Args:
        fields: as for `prepare_eval`.
        cfg: the `data.text` section of a config.

    Returns:
        string scalar: the record's text.
    """
    del cfg
    return fields["text"]


def words(tokens: tf.Tensor) -> tf.Tensor:
    """Numbers the words of a text.

    Args:
        tokens: int32 `[length]`.

    Returns:
        int32 `[length]`: 1 for the bytes of the first word, 2 for those of the second, ...; 0 for
        spaces and special tokens.
    """
    outside = tf.less(tokens, SPECIAL)
    for space in SPACES:
        outside |= tf.equal(tokens, space + SPECIAL)
    before = tf.concat([[True], outside[:-1]], 0)
    number = tf.cumsum(tf.cast(~outside & before, tf.int32))
    return tf.where(outside, 0, number)


def _tokens(text: tf.Tensor, cfg: Any) -> tf.Tensor:
    """int32 `[length]`, padded at the end."""
    tokens = tf.cast(tf.io.decode_raw(text, tf.uint8), tf.int32) + SPECIAL
    tokens = _framed(tokens, cfg.length) if cfg.sentences else tokens[: cfg.length]
    return tf.ensure_shape(
        tf.pad(tokens, [[0, cfg.length - tf.size(tokens)]], constant_values=PAD), [cfg.length]
    )


def _framed(tokens: tf.Tensor, length: int) -> tf.Tensor:
    """CLS sentence SEP, or CLS first SEP second SEP where a tab divides two; at most `length`.

    What is too long is taken from the end of the longer sentence.
    """
    size = tf.size(tokens)
    tabs = tf.where(tf.equal(tokens, _TAB))[:, 0]
    place = tf.cast(tf.concat([tabs, [tf.cast(size, tf.int64)]], 0)[0], tf.int32)
    first, second = tokens[:place], tokens[place + 1 :]
    pair = tf.less(place, size)
    room = length - tf.where(pair, 3, 2)
    kept = tf.minimum(tf.size(second), tf.maximum(room - tf.size(first), room // 2))
    first, second = first[: room - kept], second[:kept]
    end = tf.fill([tf.cast(pair, tf.int32)], SEP)
    return tf.concat([[CLS], first, [SEP], second, end], 0)


def _inputs(tokens: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"text": tokens, "text_mask": tf.not_equal(tokens, PAD)}


def _masked(tokens: tf.Tensor, cfg: Any, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Hides every byte of a share of the words, of one at least."""
    number = words(tokens)
    count = tf.reduce_max(number)
    share = tf.cast(tf.round(cfg.mask_share * tf.cast(count, tf.float32)), tf.int32)
    hidden = tf.minimum(tf.maximum(share, 1), count)
    # The words with the lowest draws; place 0, where no word is, and those after the last never.
    draws = tf.random.stateless_uniform([cfg.length + 1], seed)
    index = tf.range(cfg.length + 1)
    draws = tf.where((index > 0) & (index <= count), draws, 2.0)
    chosen = tf.less(tf.argsort(tf.argsort(draws)), hidden)
    masked = tf.gather(chosen, number)
    inputs = _inputs(tf.where(masked, MASK, tokens))
    return {**inputs, "target": tokens, "masked": masked}
