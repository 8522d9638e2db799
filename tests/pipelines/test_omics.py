"""Molecular profiles: normalised, in tokens by group, what is missing, what training changes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from pipelines import omics, preparation
from pipelines.records import DatasetInfo, Feature

GROUPS = {"a": ["A1_cnv", "A2_cnv", "A3_cnv"], "b": ["B1_mut"], "c": ["C1_mut", "C2_mut"]}
PROFILES = np.random.default_rng(0).normal(size=(50, 6)) * [1, 2, 3, 0, 1, 9000] + 1


def info(profiles=PROFILES) -> DatasetInfo:
    squashed = np.arcsinh(profiles)
    totals = {
        "count": np.isfinite(squashed).sum(0).astype(float).tolist(),
        "sum": np.nansum(squashed, 0).tolist(),
        "squares": np.nansum(squashed**2, 0).tolist(),
    }
    features = {
        "omics": Feature("float32", (None,)),
        "time": Feature("float32"),
        "event": Feature("int64"),
    }
    return DatasetInfo(
        "toy", features, (), {}, properties={"groups": GROUPS},
        statistics={"train": {"totals": totals}},
    )  # fmt: skip


def data(**fields) -> ConfigDict:
    defaults = {
        "tokens": 3, "width": 3, "clip": 2.5, "noise": 0.0, "feature_dropout": 0.0,
        "group_dropout": 0.0,
    }  # fmt: skip
    return ConfigDict({"modality": "omics", "target": "survival", "omics": {**defaults, **fields}})


def prepared(values, described=None, **fields):
    preparing = preparation.of(described or info(), data(**fields))
    tokens = preparing.inputs({"omics": tf.constant(values, tf.float32)})
    return tokens["omics"].numpy(), tokens["omics_mask"].numpy()


def trained(seed, values=PROFILES[0], **fields):
    preparing = preparation.of(info(), data(**fields))
    raw = {"omics": tf.constant(values, tf.float32), "time": 3.0, "event": 1}
    return preparing.train(raw, tf.constant([7, seed], tf.int64))


def test_values_are_deviations_from_the_training_patients_mean():
    squashed = np.arcsinh(PROFILES)
    constant = 3  # The fourth column.
    std = np.where(np.arange(6) == constant, 1, squashed.std(0))
    normalised = np.clip((squashed - squashed.mean(0)) / std, -2.5, 2.5)
    for profile, expected in zip(PROFILES[:9], normalised, strict=False):
        tokens, mask = prepared(profile)
        np.testing.assert_allclose(tokens[0], expected[:3], atol=2e-5)
        np.testing.assert_allclose(tokens[1], [expected[3], 0, 0], atol=2e-5)
        np.testing.assert_allclose(tokens[2], [*expected[4:], 0], atol=2e-5)
        assert mask.tolist() == [True, True, True]


def test_what_is_missing_is_the_mean_and_a_group_without_values_is_masked():
    tokens, mask = prepared([1, np.nan, 2, np.nan, 50, np.nan])
    whole, _ = prepared([1, 1, 2, 1, 50, 1])
    assert mask.tolist() == [True, False, True]
    assert tokens[0, 1] == tokens[2, 1] == 0
    assert not tokens[1].any()
    assert tokens[0, 0] == whole[0, 0] != 0


def test_statistics_leave_out_what_is_missing():
    with_gaps = PROFILES.copy()
    with_gaps[::2, 0] = np.nan
    with_gaps[:, 1] = np.nan
    found = omics.statistics(info(with_gaps))
    squashed = np.arcsinh(PROFILES[1::2, 0])
    assert found["mean"][0] == pytest.approx(squashed.mean())
    assert found["std"][0] == pytest.approx(squashed.std())
    assert (found["mean"][1], found["std"][1]) == (0, 1)
    assert found["sizes"] == (3, 1, 2)


def test_without_augmentation_training_sees_what_evaluation_sees():
    tokens, mask = prepared(PROFILES[0])
    example = trained(0)
    np.testing.assert_array_equal(example["omics"], tokens)
    np.testing.assert_array_equal(example["omics_mask"], mask)
    assert (float(example["time"]), float(example["event"])) == (3.0, 1.0)


def test_augmentation_depends_on_the_seed_alone():
    fields = {"noise": 0.5, "feature_dropout": 0.4, "group_dropout": 0.4}
    first, again, other = (trained(seed, **fields) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["omics"], again["omics"])
    assert not np.array_equal(first["omics"], other["omics"])


def test_dropped_values_are_zero_and_the_others_grow():
    tokens, _ = prepared(PROFILES[0])
    dropped = np.stack([trained(seed, feature_dropout=0.25)["omics"] for seed in range(200)])
    kept = dropped[:, tokens != 0]
    assert np.mean(kept == 0) == pytest.approx(0.25, abs=0.05)
    expected = np.broadcast_to(tokens[tokens != 0] / 0.75, kept.shape)
    np.testing.assert_allclose(kept[kept != 0], expected[kept != 0], rtol=1e-6)


def test_groups_are_masked_but_never_all_of_them():
    masks = np.stack([trained(seed, group_dropout=0.8)["omics_mask"] for seed in range(200)])
    assert masks.any(1).all()
    # Where all three would go, 0.8^3 of the time, all stay.
    assert masks.mean() == pytest.approx(0.2 + 0.8**3, abs=0.07)
    gap = [1, 1, 1, np.nan, 1, 1]
    assert not any(trained(s, gap, group_dropout=0.5)["omics_mask"][1] for s in range(20))


def test_noise_has_the_deviation_asked_for_and_leaves_padding_alone():
    tokens, _ = prepared(PROFILES[0])
    noisy = np.stack([trained(seed, noise=0.3)["omics"] for seed in range(300)])
    assert (noisy - tokens)[:, 0].std() == pytest.approx(0.3, rel=0.1)
    assert not noisy[:, 1, 1:].any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tokens": 2}, "the records have 3 groups of at most 3 genes; .* tokens=2 and width=3"),
        ({"width": 0}, "config.data.omics.width=0 must be at least 1"),
        ({"clip": 0.0}, "config.data.omics.clip=0.0 must be greater than 0"),
        ({"feature_dropout": 1.0}, "config.data.omics.feature_dropout=1.0 is not in"),
        ({"group_dropout": -0.1}, "config.data.omics.group_dropout=-0.1 is not in"),
        ({"noise": -1.0}, "config.data.omics.noise=-1.0 can't be negative"),
    ],
)
def test_what_is_out_of_range_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        prepared(PROFILES[0], **fields)


def test_a_dataset_without_groups_and_a_profile_of_another_length_are_named():
    bare = DatasetInfo("bare", info().features, (), {})
    with pytest.raises(ValueError, match="dataset 'bare' doesn't say its groups"):
        prepared(PROFILES[0], bare)
    with pytest.raises(tf.errors.InvalidArgumentError, match="than the 6 values it must have"):
        prepared(PROFILES[0][:5])
