"""Profiles beside patches: what evaluation sees, what training changes, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from pipelines import omics_patches, preparation
from pipelines.records import DatasetInfo, Feature

BAG = np.random.default_rng(0).normal(3, 2, (9, 2)).astype(np.float32)
PROFILE = [1.0, np.nan, 0.0]


def info(**changes) -> DatasetInfo:
    totals = {
        "count": [4.0, 4.0, 4.0], "sum": [4.0, 4.0, 4.0], "squares": [8.0, 8.0, 8.0],
        "patches": [BAG.size, float(BAG.sum()), float((BAG.astype(float) ** 2).sum())],
    }  # fmt: skip
    features = {
        "omics": Feature("float32", (None,)), "patches": Feature("float32", (None,)),
        "time": Feature("float32"), "event": Feature("int64"),
    }  # fmt: skip
    made = DatasetInfo(
        "toy", features, (), {}, properties={"groups": {"a": ["A_cnv", "B_cnv"], "b": ["A_mut"]}},
        statistics={"train": {"totals": totals}},
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def data(**patches) -> ConfigDict:
    profile = {
        "tokens": 2, "width": 2, "clip": 4.0, "noise": 0.0, "feature_dropout": 0.0,
        "group_dropout": 0.0,
    }  # fmt: skip
    usual = {"length": 4, "patch_width": 2, "clip": 5.0, "noise": 0.0, "dropout": 0.0}
    section = {"omics": profile, "patches": {**usual, **patches}}
    return ConfigDict({"modality": "omics_patches", "target": "survival", "omics_patches": section})


def prepared(bag, **fields):
    raw = {"omics": tf.constant(PROFILE), "patches": tf.constant(bag, tf.float32)}
    found = preparation.of(info(), data(**fields)).inputs(raw)
    return {name: value.numpy() for name, value in found.items()}


def many(count, bag=BAG, **fields):
    """What training makes of one patient, by so many seeds: {name: [count, ...]}."""
    preparing = preparation.of(info(), data(**fields))
    raw = {"omics": tf.constant(PROFILE), "patches": tf.constant(bag.reshape(-1))}
    raw |= {"time": 3.0, "event": 1}
    numbers = tf.range(count, dtype=tf.int64)
    seeds = tf.stack([7 * tf.ones_like(numbers), numbers], 1)
    stream = tf.data.Dataset.from_tensor_slices(seeds)
    found = next(iter(stream.map(lambda seed: preparing.train(raw, seed)).batch(count)))
    return {name: value.numpy() for name, value in found.items()}


def test_evaluation_sees_evenly_spaced_patches_and_the_profile():
    found = prepared(BAG.reshape(-1))
    np.testing.assert_allclose(
        found["patches"], (BAG[[1, 3, 5, 7]] - BAG.mean()) / BAG.std(), rtol=1e-4, atol=1e-5
    )
    assert found["patches_mask"].all()
    # asinh(1) and asinh(0) by a mean and deviation of 1.
    np.testing.assert_allclose(found["omics"], [[np.arcsinh(1) - 1, 0], [-1, 0]], atol=1e-6)
    assert found["omics_mask"].tolist() == [True, True]
    section = data().omics_patches
    assert omics_patches.shape(section) == {n: found[n].shape for n in ("omics", "patches")}


def test_a_client_pads_with_nan_and_a_patient_may_have_no_patches():
    flat = prepared(BAG[:2].reshape(-1))
    padded = prepared([[np.nan] * 2, *BAG[:2], [np.nan] * 2])
    for name, value in flat.items():
        np.testing.assert_array_equal(padded[name], value)
    assert flat["patches_mask"].tolist() == [True, True, False, False]
    for nothing in (np.zeros(0), np.zeros((0, 2)), [[np.nan, np.nan]]):
        found = prepared(nothing)
        assert not found["patches"].any()
        assert not found["patches_mask"].any()
        assert found["omics_mask"].all()


def test_training_draws_patches_by_the_seed_alone():
    first, again = many(50), many(50)
    for name, value in first.items():
        np.testing.assert_array_equal(again[name], value)
    values = first["patches"][..., 0] * BAG.std() + BAG.mean()
    places = np.abs(values[..., None] - BAG[:, 0]).argmin(-1)
    assert {tuple(row) for row in places.tolist()} > {(1, 3, 5, 7)}
    assert (np.diff(places) >= 0).all()  # Row 2 lies in two stretches of 2.25.
    assert set(places.ravel()) == set(range(9))
    assert (first["time"] == 3).all()


def test_noise_and_dropout_leave_padding_and_the_profile_alone():
    plain, changed = many(300, BAG[:3]), many(300, BAG[:3], noise=0.5, dropout=0.25)
    noise = changed["patches"] - plain["patches"]
    assert noise[:, :3].std() == pytest.approx(0.5, rel=0.1)
    assert not noise[:, 3].any()
    seen = changed["patches_mask"].any(1)
    assert seen.mean() == pytest.approx(0.75, abs=0.08)
    assert (changed["patches_mask"][seen] == [True, True, True, False]).all()
    np.testing.assert_array_equal(changed["omics"], plain["omics"])


@pytest.mark.parametrize(
    ("bag", "message"),
    [
        ([1, 2, 3], "features of patches of another width than 2"),
        ([[1, 2, 3]], "features of patches of another width than 2"),
        ([1, np.nan], "a feature of patches is NaN or infinite"),
    ],
)
def test_what_a_client_must_not_send_is_named(bag, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        prepared(bag)


@pytest.mark.parametrize(
    ("described", "fields", "message"),
    [
        (info(), {"length": 0}, "config.data.omics_patches.patches.length=0 must be at least 1"),
        (info(), {"patch_width": 0}, "patches.patch_width=0 must be at least 1"),
        (info(), {"clip": 0.0}, "patches.clip=0.0 must be greater than 0"),
        (info(), {"noise": -1.0}, "patches.noise=-1.0 can't be negative"),
        (info(), {"dropout": 1.0}, r"patches.dropout=1.0 is not in \[0, 1\)"),
        (
            info(properties={"patch_width": 7, "groups": {}}), {},
            "omics_patches.patches.patch_width=2, the records of 'toy' have 7: .* --patch_width=2",
        ),
        (info(statistics={}), {}, "dataset 'toy' has no patches of its training patients"),
        (
            info(statistics={"train": {"totals": {"patches": [0.0, 0.0, 0.0]}}}), {},
            "no patches of its training patients; write it again with .* --bags=FOLDER",
        ),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_named(described, fields, message):
    with pytest.raises(ValueError, match=message):
        preparation.of(described, data(**fields))
