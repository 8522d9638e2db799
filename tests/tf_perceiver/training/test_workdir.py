"""The workdir belongs to one run; its log has no row twice."""

from __future__ import annotations

import json
import pathlib

import pytest

from pipelines.records import DatasetInfo, Feature, Shard, Split
from tf_perceiver.training import workdir


def info(records: int = 3) -> DatasetInfo:
    split = Split("train", (Shard("d-train.tfrecord-00000-of-00001", records, 10, "0" * 64),))
    return DatasetInfo("d", {"label": Feature("int64")}, ("a", "b"), {"train": split})


CONFIG = {"seed": 0, "model": {"size": (8, 8)}, "optimizer": {"learning_rate": 0.1}}


def test_the_same_run_may_come_back(tmp_path):
    for _ in range(2):
        workdir.check_claim(tmp_path / "w", CONFIG, "records", info())
        workdir.claim(tmp_path / "w", CONFIG, "records", info())
    run = workdir.read_run(tmp_path / "w")
    assert run["config"]["optimizer"] == {"learning_rate": 0.1}
    assert DatasetInfo.read(str(tmp_path / "w")) == info()


def test_another_config_is_refused_with_the_difference(tmp_path):
    workdir.claim(tmp_path, CONFIG, "records", info())
    changed = {**CONFIG, "optimizer": {"learning_rate": 0.2}}
    with pytest.raises(ValueError, match=r"optimizer.learning_rate: 0.1 -> 0.2"):
        workdir.check_claim(tmp_path, changed, "records", info())


def test_other_data_are_refused(tmp_path):
    workdir.claim(tmp_path, CONFIG, "records", info())
    with pytest.raises(ValueError, match="started on other data"):
        workdir.check_claim(tmp_path, CONFIG, "records", info(4))


def test_checkpoints_of_an_unknown_run_are_not_written_over(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="no config.json"):
        workdir.check_claim(tmp_path, CONFIG, "records", info())


def test_a_bucket_is_not_a_workdir():
    with pytest.raises(ValueError, match="is not a local folder"):
        workdir.check_claim(pathlib.Path("gs://bucket/run"), CONFIG, "records", info())


def test_digest_ignores_the_order_of_keys_and_tuples():
    again = {"optimizer": {"learning_rate": 0.1}, "model": {"size": [8, 8]}, "seed": 0}
    assert workdir.digest(CONFIG) == workdir.digest(again)
    assert workdir.digest(CONFIG) != workdir.digest({**CONFIG, "seed": 1})


def test_rows_after_the_restored_step_are_written_again_and_not_twice(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = workdir.MetricsLog(path, 0)
    for step in (5, 10, 15):
        log.write({"step": step})
    path.open("a").write('{"step": 20, "lo')  # Killed while writing.
    workdir.MetricsLog(path, 10).write({"step": 15, "again": True})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [{"step": 5}, {"step": 10}, {"step": 15, "again": True}]


def test_other_machines_may_prepare_the_input_of_the_same_run(tmp_path):
    before = {**CONFIG, "data": {"batch_size": 8}}  # As it was before the field existed.
    workdir.claim(tmp_path, before, "records", info())
    for service in ("", "grpc://host:1"):
        changed = {**CONFIG, "data": {"batch_size": 8, "service": service}}
        workdir.check_claim(tmp_path, changed, "records", info())
        assert workdir.digest(changed) == workdir.digest(before)
    changed = {**CONFIG, "data": {"batch_size": 9, "service": ""}}
    with pytest.raises(ValueError, match="data.batch_size: 8 -> 9"):
        workdir.check_claim(tmp_path, changed, "records", info())


def test_a_run_may_go_on_keeping_more_or_less(tmp_path):
    before = {**CONFIG, "model": {"trunk": {"num_latents": 4}}}  # Before the field existed.
    workdir.claim(tmp_path, before, "records", info())
    for keeps in (True, False):
        trunk = {"num_latents": 4, "keep_probabilities": keeps}
        workdir.check_claim(tmp_path, {**CONFIG, "model": {"trunk": trunk}}, "records", info())
    changed = {**CONFIG, "model": {"trunk": {"num_latents": 5, "keep_probabilities": False}}}
    with pytest.raises(ValueError, match="model.trunk.num_latents: 4 -> 5"):
        workdir.check_claim(tmp_path, changed, "records", info())
