"""A record's way to an example, with the statistics of the training records where asked for."""

from __future__ import annotations

import types

import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from configs import feeds
from pipelines import preparation
from pipelines.records import DatasetInfo, Feature

INFO = DatasetInfo(
    "scales",
    {"weight": Feature("float32"), "time": Feature("float32"), "event": Feature("int64")},
    (),
    {},
    statistics={"train": {"totals": {"sum": [30.0], "count": [4.0]}}},
)


def scales(**parts) -> types.SimpleNamespace:
    """A modality: a weight over the mean of training, plus the seed's first number."""
    return types.SimpleNamespace(
        FEATURES={"weight": Feature("float32")},
        check=lambda cfg: None,
        prepare_train=lambda fields, cfg, seed: {
            "scaled": fields["weight"] / cfg.mean + tf.cast(seed[0], tf.float32)
        },
        prepare_eval=lambda fields, cfg: {"scaled": fields["weight"] / cfg.mean},
        **parts,
    )


def mean(info):
    totals = info.statistics["train"]["totals"]
    return {"mean": totals["sum"][0] / totals["count"][0]}


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setitem(preparation.MODALITIES, "scales", scales(statistics=mean))
    config = {"modality": "scales", "target": "survival", "scales": {"mean": 1.0}}
    return ConfigDict(config).lock()


FIELDS = {"weight": tf.constant(15.0), "time": tf.constant(3.0), "event": tf.constant(0, tf.int64)}


def test_inputs_and_target_stand_side_by_side(data):
    preparing = preparation.of(INFO, data)
    example = preparing.train(FIELDS, tf.constant([5, 0], tf.int64))
    assert {name: float(value) for name, value in example.items()} == {
        "scaled": 7.0, "time": 3.0, "event": 0.0,
    }  # fmt: skip
    assert float(preparing.evaluation(FIELDS)["scaled"]) == 2.0
    assert set(preparing.inputs({"weight": tf.constant(1.0)})) == {"scaled"}
    assert set(preparing.features) == {"weight", "time", "event"}


def test_statistics_leave_the_config_as_it_is(data):
    assert preparation.of(INFO, data).cfg.mean == 7.5
    assert data.scales.mean == 1.0


def test_shown_is_there_where_asked_for_and_possible(data, monkeypatch):
    assert "shown" not in preparation.of(INFO, data).evaluation(FIELDS, shown=True)
    module = scales(statistics=mean, shown=lambda fields, cfg: fields["weight"])
    monkeypatch.setitem(preparation.MODALITIES, "scales", module)
    preparing = preparation.of(INFO, data)
    assert float(preparing.evaluation(FIELDS, shown=True)["shown"]) == 15.0
    assert "shown" not in preparing.evaluation(FIELDS)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("modality", "smell", "config.data.modality='smell' is unknown: choose audio or"),
        ("target", "fame", "config.data.target='fame' is unknown: choose label or"),
        ("target", "label", "needs the feature 'label' .int64 .*, dataset 'scales' has none"),
    ],
)
def test_what_does_not_fit_is_named(data, field, value, message):
    with data.unlocked():
        data[field] = value
    with pytest.raises(ValueError, match=message):
        preparation.of(INFO, data)


def test_cutmix_of_permuted_pictures_is_refused():
    info = DatasetInfo("p", {"image": Feature("bytes"), "label": Feature("int64")}, ("a",), {})
    data = feeds.images((4, 4), 2, permutation_seed=1)
    preparation.of(info, data)
    data.mixing.cutmix = True
    with pytest.raises(ValueError, match="CutMix cuts rectangles.* or image.permutation_seed=0"):
        preparation.of(info, data)
