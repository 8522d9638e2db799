"""The record contract: round trips, refusals, and what the fingerprint covers."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipelines import records
from pipelines.records import DatasetError, DatasetInfo, Feature, Shard, Split

FEATURES = {
    "points": Feature("float32", (None, 3)),
    "grid": Feature("float32", (2, 2)),
    "tokens": Feature("int64", (None,)),
    "label": Feature("int64"),
    "key": Feature("bytes"),
}


def example(**changes):
    fields = {
        "points": np.arange(6, dtype=np.float32).reshape(2, 3),
        "grid": np.eye(2, dtype=np.float32),
        "tokens": np.array([5, -1]),
        "label": 3,
        "key": b"a/b.png",
    }
    return {**fields, **changes}


def info(**changes) -> DatasetInfo:
    fields = {
        "name": "digits",
        "features": FEATURES,
        "labels": ("eight", "näin"),
        "splits": {
            "train": Split("train", (Shard("a", 3, 100, "00"), Shard("b", 4, 120, "01"))),
            "test": Split("test", (Shard("c", 2, 90, "02"),)),
        },
        "rejects": {"empty-file": 1},
        "statistics": {"train": {"height": {"min": 8, "max": 8, "mean": 8.0}}},
        "command": "python -m beam_preprocess.run --dataset digits",
    }
    return DatasetInfo(**{**fields, **changes})


@given(
    points=npst.arrays(
        np.float32, st.tuples(st.integers(0, 9), st.just(3)), elements=st.floats(width=32)
    ),
    tokens=npst.arrays(np.int64, st.integers(0, 5)),
    label=st.integers(-(2**63), 2**63 - 1),
    key=st.binary(max_size=20),
)
def test_parser_returns_what_was_encoded(points, tokens, label, key):
    fields = example(points=points, tokens=tokens, label=label, key=key)
    parsed = records.parser(FEATURES)(tf.constant(records.encode(fields, FEATURES)))
    np.testing.assert_array_equal(parsed["points"], points)
    np.testing.assert_array_equal(parsed["grid"], np.eye(2))
    np.testing.assert_array_equal(parsed["tokens"], tokens)
    assert parsed["label"] == label
    assert parsed["key"].numpy() == key


def test_parser_declares_shapes_to_the_pipeline():
    serialized = tf.data.Dataset.from_tensors(records.encode(example(), FEATURES))
    spec = serialized.map(records.parser(FEATURES)).element_spec
    assert {name: (s.shape.as_list(), s.dtype) for name, s in spec.items()} == {
        "points": ([None, 3], tf.float32),
        "grid": ([2, 2], tf.float32),
        "tokens": ([None], tf.int64),
        "label": ([], tf.int64),
        "key": ([], tf.string),
    }


def test_encoding_does_not_depend_on_the_order_of_fields():
    backwards = dict(reversed(example().items()))
    reordered = dict(reversed(FEATURES.items()))
    assert records.encode(backwards, reordered) == records.encode(example(), FEATURES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": np.zeros((2, 3))}, r"'points' is float64, declared as float32"),
        ({"points": np.zeros((2, 4), np.float32)}, r"shape \(2, 4\), declared as \(None, 3\)"),
        ({"grid": np.zeros((2,), np.float32)}, r"shape \(2,\), declared as \(2, 2\)"),
        ({"label": 3.0}, r"'label' is float64, declared as int64"),
        ({"label": np.array([3])}, r"'label' has shape \(1,\)"),
        ({"key": "text"}, r"'key' holds str, declared as bytes"),
        ({"more": 1}, r"example has fields .*'more'"),
    ],
)
def test_encode_refuses_what_is_not_declared(changes, message):
    with pytest.raises(DatasetError, match=message):
        records.encode(example(**changes), FEATURES)


def test_parser_refuses_a_cloud_that_is_no_multiple_of_three():
    loose = {**FEATURES, "points": Feature("float32", (None,))}
    serialized = records.encode(example(points=np.zeros(7, np.float32)), loose)
    with pytest.raises(tf.errors.InvalidArgumentError, match="multiple of 3"):
        records.parser(FEATURES)(tf.constant(serialized))


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [("float64", (), "float64.*not one of"), ("int64", (None, None), "more than one None")],
)
def test_feature_refuses_types_the_contract_does_not_have(dtype, shape, message):
    with pytest.raises(ValueError, match=message):
        Feature(dtype, shape)


def test_shard_name_is_the_pattern_of_tfds():
    assert records.shard_name("digits", "train", 3, 8) == "digits-train.tfrecord-00003-of-00008"


def test_read_returns_what_was_written(tmp_path):
    written = info()
    written.write(str(tmp_path))
    assert DatasetInfo.read(str(tmp_path)) == written
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]
    assert written.split("train").records == 7


def test_tables_of_numbers_go_through_json_to_the_bit():
    table = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    packed = json.loads(json.dumps(records.pack_floats(table)))
    np.testing.assert_array_equal(records.unpack_floats(packed), table)
    for damage in ({"width": 4}, {"float32_base64": "?"}, {"float32_base64": None}):
        with pytest.raises(DatasetError, match="no table of numbers"):
            records.unpack_floats(packed | damage)


def test_unknown_split_lists_those_that_exist():
    with pytest.raises(DatasetError, match=r"no split 'val'; it has test, train"):
        info().split("val")


def test_fingerprint_covers_what_a_reader_of_records_sees():
    base = info()
    train = base.splits["train"]
    moved = {**base.splits, "train": Split("train", train.shards[::-1])}
    different = [
        info(labels=("näin", "eight")),
        info(splits=moved),
        info(statistics={}),
        info(features={**FEATURES, "grid": Feature("float32", (2, 3))}),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in different)}) == 5
    same = info(command="other", rejects={})
    assert same.fingerprint == base.fingerprint


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:40], "no dataset description"),
        (lambda text: "[1, 2]", "no dataset description"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 9'), "of schema 9"),
        (lambda text: text.replace('"eight"', '"nine"'), "fingerprint does not match"),
        (lambda text: text.replace('"labels"', '"label"'), "missing or wrong field"),
        (lambda text: text.replace('"float32"', '"float16"'), "missing or wrong field"),
        (lambda text: text.replace('"sha256"', '"sha1"'), "missing or wrong field"),
    ],
)
def test_read_refuses_a_damaged_description(tmp_path, damage, message):
    path = tmp_path / "dataset.json"
    info().write(str(tmp_path))
    path.write_text(damage(path.read_text()))
    with pytest.raises(DatasetError, match=message) as caught:
        DatasetInfo.read(str(tmp_path))
    assert str(path) in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_says_how_to_make_a_dataset_where_there_is_none(tmp_path):
    with pytest.raises(DatasetError, match=r"not a finished dataset .*beam_preprocess\.run"):
        DatasetInfo.read(str(tmp_path / "missing"))


def test_read_takes_addresses_of_other_file_systems(tmp_path):
    info().write(f"file://{tmp_path}")
    assert DatasetInfo.read(f"file://{tmp_path}") == info()
    with pytest.raises(DatasetError, match="not a finished dataset"):
        DatasetInfo.read(f"file://{tmp_path}/missing")


def test_json_holds_the_record_counts_of_splits():
    content = json.loads(info().to_json())
    assert {name: split["records"] for name, split in content["splits"].items()} == {
        "train": 7,
        "test": 2,
    }
    assert dataclasses.replace(info(), fingerprint="").fingerprint == content["fingerprint"]
