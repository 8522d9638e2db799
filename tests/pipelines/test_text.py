"""Tokens of texts: their numbers, their frame, and which words are masked."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import feeds
from pipelines import preparation, text
from pipelines.records import DatasetInfo


def config(length: int = 64, **fields):
    return feeds.texts(length, 2, **fields).text


def prepared(string: str | bytes, cfg, key: str | None = None, seed: int | None = None) -> dict:
    fields = {"text": tf.constant(string)} | ({} if key is None else {"key": tf.constant(key)})
    if seed is None:
        return text.prepare_eval(fields, cfg)
    return text.prepare_train(fields, cfg, tf.constant([3, seed], tf.int64))


def told(tokens: tf.Tensor) -> str:
    """Tokens for the eye: bytes as characters, special tokens as digits, padding left out."""
    return "".join(chr(t - 6) if t >= 6 else str(t) for t in tokens.numpy().tolist() if t)


def test_a_token_is_a_byte_plus_six_and_the_rest_is_padding():
    found = prepared("aé\n", config(8))
    expected = [*(byte + 6 for byte in "aé\n".encode()), 0, 0, 0, 0]
    assert found["text"].numpy().tolist() == expected
    assert found["text_mask"].numpy().tolist() == [True] * 4 + [False] * 4
    assert set(found) == {"text", "text_mask"}
    assert told(prepared("abcdefghij", config(8))["text"]) == "abcdefgh"


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("ab", "4ab5"),
        ("ab\tcd", "4ab5cd5"),
        ("\tcd", "45cd5"),
        ("abcdefghij", "4abcdefgh5"),  # 10 tokens in all.
        ("abcdefghij\tkl", "4abcde5kl5"),
        ("ab\tcdefghij", "4ab5cdefg5"),
        ("abcdefg\thijklmn", "4abcd5hij5"),
        ("a\tb\tc", "4a5b\tc5"),
    ],
)
def test_sentences_are_framed_and_the_longer_one_is_cut(string, expected):
    assert told(prepared(string, config(10, sentences=True))["text"]) == expected


@given(st.text(st.sampled_from("ab \n\té"), max_size=40))
@settings(max_examples=50)
def test_words_are_numbered_as_spaces_divide_them(string):
    tokens = prepared(string, config(64))["text"]
    numbers = text.words(tokens).numpy()
    data = string.encode()
    found = [
        bytes(byte for byte, number in zip(data, numbers[: len(data)], strict=True) if number == i)
        for i in range(1, numbers.max() + 1)
    ]
    assert found == data.split()
    assert not numbers[len(data) :].any()


@given(st.lists(st.sampled_from(["a", "bé", "longer"]), max_size=30), st.integers(0, 10**9))
@settings(max_examples=50)
def test_whole_words_are_masked_and_their_number_is_the_share(words, seed):
    string, cfg = "  ".join(words), config(128, mask_share=0.15)
    found = {name: it.numpy() for name, it in prepared(string, cfg, seed=seed).items()}
    tokens, number = prepared(string, config(128))["text"], len(string.encode()[:128].split())
    np.testing.assert_array_equal(found["target"], tokens)
    np.testing.assert_array_equal(found["text"], np.where(found["masked"], 3, tokens))
    np.testing.assert_array_equal(found["text_mask"], tokens != 0)
    masked = set(text.words(tokens).numpy()[found["masked"]].tolist())
    assert len(masked) == min(number, max(1, round(0.15 * number)))
    assert np.isin(text.words(tokens), list(masked)).tolist() == found["masked"].tolist()
    assert 0 not in masked


def test_every_word_is_masked_as_often():
    cfg = config(64, mask_share=0.15)
    string = tf.constant("one two three four five six seven eight nine ten")

    def masked(number: tf.Tensor) -> tf.Tensor:
        found = text.prepare_train({"text": string}, cfg, tf.stack([number, 1]))
        places = text.words(found["target"]) * tf.cast(found["masked"], tf.int32)
        return tf.reduce_max(tf.one_hot(places, 11), 0)

    counts = tf.data.Dataset.range(3000).map(masked).batch(3000).get_single_element()
    np.testing.assert_allclose(tf.reduce_mean(counts, 0)[1:], 0.2, atol=0.03)  # round(1.5) of 10.


def test_evaluation_masks_by_the_key_and_training_by_the_seed():
    cfg, string = config(64, mask_share=0.15), "one two three four five six seven eight nine ten"
    by_key = [told(prepared(string, cfg, key=f"file#{i}")["text"]) for i in range(20)]
    assert len(set(by_key)) > 10
    assert by_key[7] == told(prepared(string, cfg, key="file#7")["text"])
    assert by_key[0] == "333 two three four five 333 seven eight nine ten"  # On every machine.
    by_seed = [told(prepared(string, cfg, key="file#0", seed=i)["text"]) for i in range(20)]
    assert len(set(by_seed)) > 10
    assert by_seed[3] == told(prepared(string, cfg, key="another", seed=3)["text"])


def test_a_served_text_is_masked_where_it_says_so_one_byte_each():
    cfg = config(64, mask_share=0.15)
    assert told(prepared("a [MASK][MASK] é[MASK]", cfg)["text"]) == "a 33 Ã©3"
    assert told(prepared("a [mask] [MASK", cfg)["text"]) == "a [mask] [MASK"
    # Of a record it is text like any other, and so it is where nothing is masked.
    assert "[MASK]" in told(prepared("[MASK] " * 6, cfg, key="a")["text"])
    assert told(prepared("[MASK]", config(64))["text"]) == "[MASK]"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"length": 7}, "length=7 must be at least 8"),
        ({"mask_share": 1.0}, r"mask_share=1.0 must lie in \[0, 1\)"),
        ({"mask_share": 0.1, "sentences": True}, "set mask_share=0 or sentences=False"),
    ],
)
def test_values_out_of_range_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        text.check(config(**{"length": 64, **fields}))


def test_a_pipeline_gives_the_same_batches_of_text():
    data = feeds.texts(32, 2, mask_share=0.5)
    info = DatasetInfo("t", text.FEATURES, (), {})
    preparing = preparation.of(info, data)
    fields = {"text": tf.constant("some words are hidden"), "key": tf.constant("a")}
    spec = tf.data.Dataset.from_tensors(fields).map(preparing.evaluation).element_spec
    assert {name: (it.dtype, tuple(it.shape)) for name, it in spec.items()} == {
        "text": (tf.int32, (32,)), "target": (tf.int32, (32,)),
        "text_mask": (tf.bool, (32,)), "masked": (tf.bool, (32,)),
    }  # fmt: skip
