"""The train and evaluate commands, on real records, with real interruptions."""

from __future__ import annotations

import json
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

CONFIG = "--config=configs/digits.py:tiny"


def arguments(trained, workdir, *more):
    return (CONFIG, f"--data={trained.data}", f"--workdir={workdir}", "--strategy=cpu", *more)


def rows(workdir, kind):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [row for row in found if row["kind"] == kind]


def without_clock(rows):
    clocked = ("time", "examples_per_second", "input_wait")
    return [{k: v for k, v in row.items() if k not in clocked} for row in rows]


def final_weights(workdir):
    prefix = str(workdir / "checkpoints" / "ckpt-000000020")
    return {
        name: tf.train.load_variable(prefix, name)
        for name, _ in tf.train.list_variables(prefix)
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    }


def test_a_run_leaves_everything_it_should(trained_digits):
    workdir = trained_digits.workdir
    assert (workdir / "DONE").read_text() == "20\n"
    assert (workdir / "report" / "index.html").exists()
    assert list((workdir / "train").glob("events.out.tfevents.*"))
    assert list((workdir / "eval").glob("events.out.tfevents.*"))
    assert [row["step"] for row in rows(workdir, "train")] == [5, 10, 15, 20]
    assert all(0 < row["input_wait"] < 1 for row in rows(workdir, "train"))
    assert [row["step"] for row in rows(workdir, "eval")] == [10, 20]
    assert json.loads((workdir / "config.json").read_text())["config"]["name"] == "digits:tiny"


def test_evaluation_ends_with_one_exact_json_line(command, trained_digits):
    result = command("tf_perceiver.evaluate", f"--workdir={trained_digits.workdir}").check()
    answer = json.loads(result.stdout.splitlines()[-1])
    logged = rows(trained_digits.workdir, "eval")[-1]
    info = json.loads((trained_digits.data / "dataset.json").read_text())
    assert answer["split"] == "test"
    assert answer["step"] == 20
    assert answer["examples"] == info["splits"]["test"]["records"]
    assert answer["accuracy"] == logged["accuracy"]
    assert answer["loss"] == pytest.approx(logged["loss"], rel=1e-6)


def test_a_terminated_run_goes_on_to_the_same_end(command, trained_digits, tmp_path):
    workdir = tmp_path / "w"
    running = command.start("tf_perceiver.train", *arguments(trained_digits, workdir))
    while not list((workdir / "checkpoints").glob("*.json")):
        assert running.poll() is None, "ended before it could be interrupted"
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    ended = running.wait(60)
    if ended.returncode != 0:  # 0: it was done before the signal came.
        assert ended.returncode == 75
        assert "run the same command again" in ended.stderr
    command("tf_perceiver.train", *arguments(trained_digits, workdir)).check()

    assert without_clock(rows(workdir, "train")) == without_clock(
        rows(trained_digits.workdir, "train")
    )
    expected = final_weights(trained_digits.workdir)
    for name, value in final_weights(workdir).items():
        assert (value == expected[name]).all(), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--config=configs/digits.py:smal"], "variant 'smal' is none of small, tiny"),
        (["--config=configs/nothing.py"], "configs/nothing.py"),
        (["--config.train.stpes=3"], "stpes"),
        (["--strategy=tpv"], "--strategy=tpv is none of"),
        (["--strategy=tpu"], "no TPU is named"),
        (["--data=/nowhere"], "/nowhere: not a finished dataset"),
        (["--config.data.eval_split=val"], "no split 'val'; it has test, train"),
        (["--config.data.batch_size=0"], "batch_size=0"),
        (["--config.model.trunk.sharing=papre"], "sharing='papre'"),
        (["--config.data.modality=points"], "points"),
        (["--wrkdir=x"], "Unknown command line flag 'wrkdir'"),
        (["extra"], "'extra' is not a flag"),
    ],
)
def test_mistakes_get_one_line_and_nothing_is_written(
    command, trained_digits, tmp_path, change, message
):
    workdir = tmp_path / "w"
    result = command("tf_perceiver.train", *arguments(trained_digits, workdir, *change))
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not workdir.exists()


def test_a_workdir_of_another_config_is_refused(command, trained_digits):
    more = ["--config.optimizer.learning_rate=1.0"]
    result = command(
        "tf_perceiver.train", *arguments(trained_digits, trained_digits.workdir, *more)
    )
    assert result.returncode == 2
    assert "optimizer.learning_rate: 0.004 -> 1.0" in result.stderr


def test_a_real_interpreter_trains(real_command, trained_digits, tmp_path):
    # In an interpreter of its own: the one real start of the command.
    result = real_command(
        "tf_perceiver.train",
        *arguments(trained_digits, tmp_path / "w", "--config.train.steps=2"),
    ).check()
    assert "done: 2 steps" in result.stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--workdir=/nowhere"], "/nowhere is not a workdir"),
        (["--split=val"], "no split 'val'"),
        (["--data=/nowhere"], "/nowhere: not a finished dataset"),
    ],
)
def test_evaluation_names_what_is_missing(command, trained_digits, more, message):
    result = command("tf_perceiver.evaluate", f"--workdir={trained_digits.workdir}", *more)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


# The command, with NaN in every picture of some batches: POISON is a list of [salt, step].
POISONED = """
import json
import os
import tensorflow as tf
from tf_perceiver import command_line, train
from pipelines import input_pipeline

POISON = json.loads(os.environ["POISON"])
stream = input_pipeline.train_stream

def poisoned(*arguments, salt, start_step, **fields):
    steps = tf.constant([-1] + [step for its, step in POISON if its == salt], tf.int64)

    def poison(step, batch):
        bad = tf.reduce_any(steps == step)
        image = batch["image"]
        return batch | {"image": tf.where(bad, image * float("nan"), image)}

    batches = stream(*arguments, salt=salt, start_step=start_step, **fields)
    return batches.enumerate(start_step + 1).map(poison)

input_pipeline.train_stream = poisoned
command_line.run(train.main)
"""


def poisoned(command, checkout, trained, folder, poison, *more):
    (folder / "poisoned.py").write_text(POISONED)
    config = f"--config={checkout}/configs/digits.py:tiny"
    return command(
        "poisoned",
        config,
        *arguments(trained, folder / "w", *more)[1:],
        cwd=folder,
        env={"POISON": json.dumps(poison)},
    )


def saved(workdir, name):
    prefix = str(workdir / "checkpoints" / "ckpt-000000020")
    return tf.train.load_variable(prefix, f"{name}/.ATTRIBUTES/VARIABLE_VALUE")


def test_a_step_that_is_not_finite_is_passed_over(command, trained_digits, checkout, tmp_path):
    ended = poisoned(command, checkout, trained_digits, tmp_path, [[0, 7]]).check()
    assert "step 7 not applied: the loss and the gradient of " in ended.stderr
    (row,) = rows(tmp_path / "w", "skipped")
    assert (row["step"], row["steps"]) == (7, 1)
    assert [row["step"] for row in rows(tmp_path / "w", "train")] == [5, 10, 15, 20]
    assert all(np.isfinite(row["loss"]) for row in rows(tmp_path / "w", "train"))
    assert saved(tmp_path / "w", "optimizer/iter") == 19
    assert saved(tmp_path / "w", "guard/skipped") == 1


def test_bad_batches_are_passed_by_with_another_salt(command, trained_digits, checkout, tmp_path):
    patience = "--config.train.guard.patience=2"
    poison = [[0, 13], [0, 14], [1, 3]]
    ended = poisoned(command, checkout, trained_digits, tmp_path, poison, patience).check()
    assert "back to step 10, with salt 1" in ended.stderr
    (row,) = rows(tmp_path / "w", "rollback")
    assert (row["step"], row["salt"]) == (11, 1)
    assert [row["step"] for row in rows(tmp_path / "w", "train")] == [5, 10, 15, 20]
    assert saved(tmp_path / "w", "guard/salt") == 1
    assert saved(tmp_path / "w", "optimizer/iter") == 20


def test_where_nothing_helps_it_stops_and_says_why(command, trained_digits, checkout, tmp_path):
    settings = ["--config.train.guard.patience=2", "--config.train.guard.rollbacks=1"]
    poison = [[salt, step] for salt in (0, 1) for step in range(8, 20)]
    ended = poisoned(command, checkout, trained_digits, tmp_path, poison, *settings)
    assert ended.returncode == 2
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "training went back 1 times already" in last
    assert not (tmp_path / "w" / "DONE").exists()


def test_evaluation_beside_and_after_a_training(command, trained_digits, tmp_path):
    given = arguments(trained_digits, tmp_path / "w", "--config.train.ema_decay=0.9")
    beside = command.start("tf_perceiver.train", *given, "--mode=continuous_eval")
    command("tf_perceiver.train", *given, "--mode=train").check()
    answers = [json.loads(line) for line in beside.wait(60).check().stdout.splitlines()]
    assert answers[-1]["step"] == 20
    assert without_clock(rows(tmp_path / "w", "eval")) == answers
    assert list((tmp_path / "w" / "eval").glob("events.out.tfevents.*"))

    alone = command("tf_perceiver.train", *given, "--mode=eval").check()
    assert json.loads(alone.stdout) == answers[-1]
    missing = command("tf_perceiver.train", *given[:2], "--workdir=/nowhere", "--mode=eval")
    assert missing.returncode == 2
    assert "--mode=eval: /nowhere has no checkpoint" in missing.stderr


def test_an_evaluation_that_a_stop_left_out_is_made_up_for(command, trained_digits, tmp_path):
    given = arguments(trained_digits, tmp_path / "w", "--config.train.steps=10")
    command("tf_perceiver.train", *given, "--mode=train").check()
    assert rows(tmp_path / "w", "eval") == []
    command("tf_perceiver.train", *given).check()
    (row,) = rows(tmp_path / "w", "eval")
    (answer,) = without_clock([row])
    assert answer["step"] == 10


def test_the_best_checkpoint_is_evaluated_and_exported(command, trained_digits, tmp_path):
    workdir = tmp_path / "w"
    settings = ["--config.train.best_metric=loss"]  # The first has the highest.
    command("tf_perceiver.train", *arguments(trained_digits, workdir, *settings)).check()
    evaluations = {row["step"]: row["loss"] for row in rows(workdir, "eval")}
    best = max(evaluations, key=evaluations.get)
    result = command("tf_perceiver.evaluate", f"--workdir={workdir}", "--best").check()
    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer["step"] == best
    assert answer["loss"] == pytest.approx(evaluations[best], rel=1e-6)
    command("tf_perceiver.export", f"--workdir={workdir}", "--best").check()
    assert (workdir / "saved_model" / str(best) / "saved_model.pb").exists()
    result = command("tf_perceiver.evaluate", f"--workdir={trained_digits.workdir}", "--best")
    assert result.returncode == 2
    assert "has no best checkpoint" in result.stderr
