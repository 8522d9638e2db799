"""A training that is interrupted ends as one that is not, to the bit.

With augmentation, dropout, MixUp, accumulation and averages on; on one device, on two logical
devices of one process, and in two processes.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
import shutil
import signal
import time

import free_ports
import numpy as np
import pytest
import tensorflow as tf

STEPS = 60
# How the ranks of a run are started: a strategy and the number of processes.
KINDS = {"one device": ("cpu", 1), "two devices": ("mirrored", 1), "two workers": (None, 2)}
SETTINGS = (
    "--config.train.log_every=3",
    "--config.train.checkpoint_every=6",
    "--config.train.eval_every=15",
    "--config.train.accumulate=2",
    "--config.train.ema_decay=0.9",
    "--config.data.mixing.mixup_alpha=0.4",
    "--config.data.batch_size=16",
    "--config.data.eval_batch_size=50",
)
CONFIG = """
from configs import digits

def get_config(variant):
    config = digits.get_config(variant)
    with config.unlocked():
        config.model.trunk.dropout = 0.1
    return config
"""
TWO_DEVICES = """
import tensorflow as tf
from tf_perceiver import command_line, train

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
command_line.run(train.main)
"""


class Runs:
    """Starts one training again and again."""

    def __init__(self, start, data, folder, kind, steps=STEPS):
        self._start, self.folder, self.workdir = start, folder, folder / "w"
        strategy, self.processes = KINDS[kind]
        self.draw = random.Random(0)
        (folder / "training.py").write_text(TWO_DEVICES)
        (folder / "config.py").write_text(CONFIG)
        self.module = "training" if kind == "two devices" else "tf_perceiver.train"
        self.arguments = [
            f"--config={folder}/config.py:tiny",
            f"--data={data}",
            f"--workdir={self.workdir}",
            f"--config.train.steps={steps}",
            *([f"--strategy={strategy}"] if strategy else []),
            *SETTINGS,
        ]

    def start(self):
        """Starts its processes."""
        if self.processes == 1:
            return [self._start(self.module, *self.arguments, cwd=self.folder)]
        cluster = {"worker": [f"localhost:{port}" for port in free_ports.find(self.processes)]}
        started = []
        for index in range(self.processes):
            task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
            started.append(
                self._start(
                    self.module,
                    *self.arguments,
                    cwd=self.folder,
                    env={"TF_CONFIG": json.dumps(task)},
                )
            )
        return started

    def finish(self, anew=False):
        """Runs to the end; as a scheduler does, again for code 75, `anew` from an empty workdir.

        A machine that stands still for ten seconds loses its workers.
        """
        for _ in range(4):
            if anew:
                shutil.rmtree(self.workdir, ignore_errors=True)
            ended = [running.wait(600) for running in self.start()]
            if all(each.returncode == 0 for each in ended):
                return
            assert all(each.returncode in (0, 75) for each in ended), ended
        raise AssertionError(ended)

    def interrupt(self, kill, after):
        """Sends the last process a signal, some steps after so many more checkpoints are there."""
        before = seen = self.checkpoints()
        running = self.start()
        until = time.monotonic() + 600
        while len(seen - before) < after:
            seen = seen | self.checkpoints()
            if ended := running[-1].poll():
                assert ended.returncode == 75, ended.stderr
                for each in running:
                    each.wait(60)
                running = self.start()
            assert time.monotonic() < until, "no checkpoint"
            time.sleep(0.002)
        time.sleep(self.draw.uniform(0, 0.1))
        running[-1].send_signal(kill)
        sent = time.monotonic()
        ended = [each.wait(120) for each in running]
        self.seconds_to_end = time.monotonic() - sent
        return ended

    def checkpoints(self):
        """Names of the whole ones."""
        return {path.name for path in self.workdir.glob("checkpoints/ckpt-*.json")}

    def saving(self):
        """Whether there are files of a checkpoint that isn't whole yet."""
        parts = {path.name.split(".")[0] for path in self.workdir.glob("checkpoints/ckpt-*")}
        return not parts <= {name.removesuffix(".json") for name in self.checkpoints()}


def end_of(workdir, step):
    """Everything that a training leaves: the last checkpoint's values, and rows but for times."""
    prefix = str(workdir / "checkpoints" / f"ckpt-{step:09d}")
    values = {
        name: tf.train.load_variable(prefix, name)
        for name, _ in tf.train.list_variables(prefix)
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    }
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    clocks = ("time", "examples_per_second", "input_wait")
    rows = [{k: v for k, v in json.loads(line).items() if k not in clocks} for line in lines]
    return values, rows


def assert_same_end(found, expected, step=STEPS):
    values, rows = end_of(found, step)
    expected_values, expected_rows = end_of(expected, step)
    assert rows == expected_rows
    assert values.keys() == expected_values.keys()
    assert sum("averages/" in name for name in values) > 10
    assert sum("OPTIMIZER_SLOT/optimizer/v" in name for name in values) > 10
    for name, value in values.items():
        np.testing.assert_array_equal(value, expected_values[name], err_msg=name)


@pytest.fixture(scope="module")
def uninterrupted(fork_server, trained_digits, tmp_path_factory):
    """Makes the workdir of an uninterrupted run of a kind, once."""

    def start(module, *arguments, **fields):
        return fork_server.start(module, arguments, **fields)

    @functools.cache
    def workdir_of(kind, steps=STEPS):
        folder = tmp_path_factory.mktemp("uninterrupted")
        runs = Runs(start, trained_digits.data, folder, kind, steps)
        runs.finish(anew=True)
        return runs.workdir

    return workdir_of


INTERRUPTIONS = {
    "killed": [(signal.SIGKILL, 3)],
    "terminated": [(signal.SIGTERM, 2)],
    "killed and terminated": [(signal.SIGKILL, 1), (signal.SIGTERM, 4)],
}


QUICK = ("one device", "killed")


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        pytest.param(*case, marks=() if case == QUICK else pytest.mark.soak)
        for case in itertools.product(KINDS, INTERRUPTIONS)
    ],
)
def test_it_ends_as_if_nothing_had_happened(
    command, trained_digits, tmp_path, uninterrupted, kind, how
):
    runs = Runs(command.start, trained_digits.data, tmp_path, kind)
    for kill, after in INTERRUPTIONS[how]:
        for ended in runs.interrupt(kill, after):
            assert ended.returncode in (0, 75, -kill), ended.stderr
    runs.finish()
    assert_same_end(runs.workdir, uninterrupted(kind))


@pytest.mark.soak
def test_twenty_kills_at_random_moments_lose_and_repeat_nothing(
    command, trained_digits, tmp_path, uninterrupted
):
    steps = 900
    runs = Runs(command.start, trained_digits.data, tmp_path, "one device", steps)
    kills = torn = 0
    while kills < 20:
        before = seen = runs.checkpoints()
        passed = runs.draw.randrange(1, 5)
        (running,) = runs.start()
        while len(seen - before) < passed and running.poll() is None:
            seen = seen | runs.checkpoints()
            time.sleep(0.002)
        if kills % 2:
            time.sleep(runs.draw.uniform(0, 0.3))
        else:
            while not runs.saving() and running.poll() is None:
                time.sleep(0.001)
        running.send_signal(signal.SIGKILL)
        assert running.wait(20).returncode == -signal.SIGKILL
        kills += 1
        torn += runs.saving()
    assert torn > 2  # Some were in the midst of saving.
    runs.finish()
    assert_same_end(runs.workdir, uninterrupted("one device", steps), steps)


@pytest.mark.soak
def test_a_killed_worker_stops_the_others_within_half_a_minute(
    command, trained_digits, tmp_path, uninterrupted
):
    runs = Runs(command.start, trained_digits.data, tmp_path, "two workers")
    survivor, killed = runs.interrupt(signal.SIGKILL, 2)
    assert killed.returncode == -signal.SIGKILL
    assert survivor.returncode == 75, survivor.stderr
    assert runs.seconds_to_end < 30
    assert "lost another worker" in survivor.stderr.strip().splitlines()[-1]
    runs.finish()
    assert_same_end(runs.workdir, uninterrupted("two workers"))
