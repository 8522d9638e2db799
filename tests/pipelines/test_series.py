"""Series: which measurements, how they are normalised, and that nothing but the seed decides."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from pipelines import series
from pipelines.readers.variables import LAYOUTS
from pipelines.records import DatasetInfo

VARIABLES = LAYOUTS["physionet2012"].variables
NUMBERS = LAYOUTS["physionet2012"].numbers()
HEART_RATE, ALT, AGE = (NUMBERS[name] for name in ("HR", "ALT", "Age"))


def info(count=4.0, total=8.0, squares=20.0, **changes) -> DatasetInfo:
    """Every variable: 4 values with a mean of 2 and a variance of 1."""
    totals = {"count": count, "sum": total, "squares": squares}
    totals = {name: [value] * len(VARIABLES) for name, value in totals.items()}
    fields = {
        "statistics": {"train": {"totals": totals}},
        "properties": {"layout": "physionet2012"},
    }
    return DatasetInfo("stays", {}, ("survived", "died"), {}, **{**fields, **changes})


def config(**fields) -> ConfigDict:
    defaults = {"length": 10, "variables": len(VARIABLES), "hours": 48.0, "limit": 4.0}
    defaults |= {"drop": 0.0, "hide": 0.0}
    return ConfigDict({**defaults, **series.statistics(info()), **fields})


def stay(count: int, variable: int = HEART_RATE, first: int | None = None) -> dict:
    """Heart rates of 0, 1, 2, ... thousandths, so that a value says which it is."""
    variables = np.full(count, variable)
    if first is not None:
        variables[0] = first
    return {
        "hour": tf.linspace(0.0, 48.0, count),
        "variable": tf.constant(variables, tf.int64),
        "value": tf.range(count, dtype=tf.float32) / 1000,
        "label": tf.constant(1, tf.int64),
    }


def which(prepared: dict) -> list[int]:
    """Indices of the measurements that were kept."""
    values = prepared["series"].numpy()[prepared["series_mask"].numpy(), 1]
    return np.rint((values + 2) * 1000).astype(int).tolist()


def seed(number: int) -> tf.Tensor:
    return tf.constant([7, number], tf.int64)


def test_values_are_normalised_by_the_training_split_and_times_by_the_stay_s():
    fields = {
        "hour": tf.constant([0.0, 12.0, 48.0, 36.0]),
        "variable": tf.constant([HEART_RATE, ALT, HEART_RATE, ALT], tf.int64),
        "value": tf.constant([3.5, math.e**2 - 1, 99.0, math.e - 1]),
    }
    prepared = series.prepare_eval(fields, config())
    np.testing.assert_allclose(
        prepared["series"][:4], [[-1, 1.5], [-0.5, 0], [1, 4], [0.5, -1]], atol=1e-6
    )
    expected = [HEART_RATE, ALT, HEART_RATE, ALT] + [0] * 6
    np.testing.assert_array_equal(prepared["series_variable"], expected)
    np.testing.assert_array_equal(prepared["series_mask"], [True] * 4 + [False] * 6)
    assert not prepared["series"][4:].numpy().any()


def test_statistics_come_from_counts_sums_and_squares():
    found = series.statistics(info())
    assert found["mean"][HEART_RATE] == 2.0
    assert found["std"][HEART_RATE] == pytest.approx(1.0)
    assert found["offset"][ALT] == 1.0
    assert [VARIABLES[i].name for i in np.flatnonzero(found["descriptor"])][:3] == [
        "Age", "Gender", "Height",
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "total", "squares"), [(0, 0, 0), (3, 3, 3), (7, 7.7, 8.47)])
def test_what_never_varies_or_never_is_has_deviation_one(count, total, squares):
    found = series.statistics(info(count, total, squares))
    assert found["std"][HEART_RATE] == 1.0
    assert found["mean"][HEART_RATE] == pytest.approx(total / max(count, 1))


@pytest.mark.parametrize("changes", [{"properties": {}}, {"statistics": {"train": {}}}])
def test_records_without_statistics_are_named(changes):
    with pytest.raises(ValueError, match="dataset 'stays' has no layout of .*, or no totals"):
        series.statistics(info(**changes))


@settings(deadline=None)
@given(count=st.integers(1, 40), number=st.integers(0, 2**62))
def test_short_stays_are_whole_and_long_ones_give_distinct_measurements(count, number):
    cfg = config()
    for prepared in (
        series.prepare_train(stay(count), cfg, seed(number)),
        series.prepare_eval(stay(count), cfg),
    ):
        kept = which(prepared)
        assert len(kept) == min(count, 10)
        assert kept == sorted(set(kept))
        assert set(kept) <= set(range(count))
    again = series.prepare_train(stay(count), cfg, seed(number))
    assert which(again) == which(series.prepare_train(stay(count), cfg, seed(number)))


def test_training_takes_every_measurement_as_often_and_evaluation_the_same():
    cfg = config()
    drawn = tf.data.Dataset.range(1500).map(
        lambda number: series.prepare_train(stay(20), cfg, tf.stack([3, number]))["series"][:, 1]
    )
    values = np.stack(list(drawn.as_numpy_iterator()))
    counts = np.bincount(np.rint((values + 2) * 1000).astype(int).ravel(), minlength=20)
    np.testing.assert_allclose(counts / 1500, 0.5, atol=0.06)
    first, second = (which(series.prepare_eval(stay(20), cfg)) for _ in range(2))
    assert first == second != list(range(10))


def test_descriptors_are_always_kept():
    for number in range(30):
        cfg = config(drop=0.9, hide=0.9)
        prepared = series.prepare_train(stay(40, first=AGE), cfg, seed(number))
        assert AGE in prepared["series_variable"].numpy()[prepared["series_mask"].numpy()]
    prepared = series.prepare_eval(stay(40, first=AGE), config(length=2))
    assert prepared["series_variable"].numpy()[0] == AGE


def test_drop_leaves_out_that_share_in_training_alone_and_never_all():
    cfg = config(length=200, drop=0.7)
    sizes = [len(which(series.prepare_train(stay(200), cfg, seed(i)))) for i in range(50)]
    assert np.mean(sizes) == pytest.approx(60, abs=4)
    assert len(which(series.prepare_eval(stay(200), cfg))) == 200
    for number in range(30):
        assert len(which(series.prepare_train(stay(1), config(drop=0.99), seed(number)))) == 1


def test_hide_takes_away_all_of_a_variable_in_training_alone():
    fields = stay(40)
    fields["variable"] = tf.constant(np.tile([HEART_RATE, ALT], 20), tf.int64)
    cfg, seen = config(length=40, hide=0.3), []
    for number in range(200):
        prepared = series.prepare_train(fields, cfg, seed(number))
        variables = prepared["series_variable"].numpy()[prepared["series_mask"].numpy()]
        counts = [int((variables == number).sum()) for number in (HEART_RATE, ALT)]
        assert set(counts) <= {0, 20} or counts == [1, 0]  # Never nothing.
        seen.append(np.array(counts) == 20)
    np.testing.assert_allclose(np.mean(seen, axis=0), 0.7, atol=0.1)
    assert np.mean(np.all(seen, axis=1)) == pytest.approx(0.49, abs=0.1)
    assert series.prepare_eval(fields, cfg)["series_mask"].numpy().all()


def test_padding_of_a_served_batch_changes_nothing():
    fields = {name: field for name, field in stay(7).items() if name in series.FEATURES}
    padded = {
        "hour": tf.pad(fields["hour"], [[2, 3]]),
        "variable": tf.pad(fields["variable"], [[2, 3]], constant_values=-1),
        "value": tf.pad(fields["value"], [[2, 3]], constant_values=5.0),
    }
    expected = series.prepare_eval(fields, config())
    for name, value in series.prepare_eval(padded, config()).items():
        np.testing.assert_array_equal(value, expected[name])


def test_a_value_below_the_logarithm_s_offset_is_the_least():
    fields = {
        "hour": tf.constant([1.0]),
        "variable": tf.constant([ALT], tf.int64),
        "value": tf.constant([-5.0]),
    }
    assert float(series.prepare_eval(fields, config())["series"][0, 1]) == -4.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hour": [], "variable": [], "value": []}, "a stay without measurements"),
        ({"variable": [-1]}, "a stay without measurements"),
        ({"variable": [len(VARIABLES)]}, "a variable of no known number"),
        ({"hour": [math.nan]}, "an hour is NaN"),
        ({"value": [math.inf]}, "a value is NaN or infinite"),
    ],
)
def test_what_a_client_can_t_send(change, message):
    raw = {"hour": [1.0], "variable": [HEART_RATE], "value": [80.0]} | change
    fields = {name: tf.constant(raw[name], feature.dtype) for name, feature in
              series.FEATURES.items()}  # fmt: skip
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        series.prepare_eval(fields, config())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": 0}, "length=0 must be at least 1"),
        ({"variables": 0}, "variables=0 must be at least 1"),
        ({"hours": 0.0}, "hours=0.0 must be greater than 0"),
        ({"limit": -1.0}, "limit=-1.0 must be greater than 0"),
        ({"drop": 1.0}, "drop=1.0 must be in"),
        ({"hide": -0.1}, "hide=-0.1 must be in"),
    ],
)
def test_a_config_out_of_range_is_named(change, message):
    series.check(config())
    with pytest.raises(ValueError, match=message):
        series.check(config(**change))
