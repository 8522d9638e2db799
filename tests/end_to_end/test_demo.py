"""`make demo` with the tiny model: the real commands, each in an interpreter of its own."""

from __future__ import annotations

import json
import re

CONFIG = "--config=configs/digits.py:tiny"


def test_the_demo_goes_all_the_way_keeps_what_is_complete_and_stops_at_damage(
    real_command, command, tmp_path
):
    first = real_command("tf_perceiver.demo", CONFIG, f"--workdir={tmp_path}", timeout=600).check()
    summary = first.stdout[first.stdout.index("== From raw files to a served model") :]
    accuracy, examples = re.search(r"test accuracy +([\d.]+)% of ([\d,]+)", summary).groups()
    run = tmp_path / "digits-tiny-seed0"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if row["kind"] == "eval"][-1]
    assert float(accuracy) == round(100 * last["accuracy"], 2)
    info = json.loads((tmp_path / "records" / "dataset.json").read_text())
    train, test = info["splits"]["train"], info["splits"]["test"]
    assert int(examples) == last["examples"] == test["records"]
    assert train["records"] + test["records"] == 1797
    right = int(re.search(r"raw files +(\d+) of 50 predicted right", summary)[1])
    # 50 of the same test files: the served model is right about as often as the evaluated one.
    assert abs(right / 50 - float(accuracy) / 100) < 0.2
    for name in ("records", "model", "report"):
        assert re.search(rf"^{name} +({tmp_path}\S+)$", summary, re.MULTILINE)
    assert (run / "saved_model" / str(last["step"]) / "saved_model.pb").exists()

    again = command("tf_perceiver.demo", CONFIG, f"--workdir={tmp_path}", timeout=600).check()
    assert "tf_perceiver.train" not in again.stdout
    assert "beam_preprocess.run" not in again.stdout
    assert re.search(r"test accuracy.*", again.stdout)[0] in first.stdout

    shard = tmp_path / "records" / test["shards"][0]["name"]
    shard.write_bytes(shard.read_bytes()[:-1])
    damaged = command("tf_perceiver.demo", CONFIG, f"--workdir={tmp_path}", timeout=600)
    assert damaged.returncode == 2
    *_, last_line = damaged.stderr.splitlines()
    assert last_line.startswith("error: step 'Records verified' ended with code 2")
    assert shard.name in damaged.stderr
