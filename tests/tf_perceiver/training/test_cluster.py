"""TF_CONFIG read, workers waited for with an end, and errors that mean another one is gone."""

from __future__ import annotations

import json
import socket
import threading
import time

import free_ports
import pytest
import tensorflow as tf

from tf_perceiver.training import cluster
from tf_perceiver.training.preemption import Preempted


def config_of(*ports, index=0, job="worker", **others):
    addresses = [f"localhost:{port}" for port in ports]
    return json.dumps(
        {"cluster": {"worker": addresses, **others}, "task": {"type": job, "index": index}}
    )


@pytest.fixture
def tf_config(monkeypatch):
    return lambda text: monkeypatch.setenv("TF_CONFIG", text)


def test_chief_and_workers_are_read(tf_config):
    tf_config(config_of(4001, 4002, index=1, chief=["[::1]:4000"]))
    found = cluster.Cluster.read()
    assert found.task == "worker 1"
    assert found.addresses == {
        "chief 0": ("::1", 4000),
        "worker 0": ("localhost", 4001),
        "worker 1": ("localhost", 4002),
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ('{"cluster": {"worker": ["a:1"]}}', "no 'task'"),
        (config_of(4001, index=1), "task worker 1 is none of worker 0"),
        (config_of(4001, index=0, job="evaluator"), "task evaluator 0 is none of worker 0"),
        (config_of("x"), "'localhost:x' is not HOST:PORT"),
        (config_of(4001, 4001), "two workers have the same address"),
    ],
)
def test_what_is_wrong_with_it_is_said(tf_config, text, reason):
    tf_config(text)
    with pytest.raises(ValueError, match=f"needs TF_CONFIG .*{reason}") as error:
        cluster.Cluster.read()
    assert "\n" not in str(error.value)


def test_workers_wait_for_each_other_however_late(tf_config):
    ports = free_ports.find(3)
    members = []
    for index in range(3):
        tf_config(config_of(*ports, index=index))
        members.append(cluster.Cluster.read())
    ended = []

    def come(member, delay):
        time.sleep(delay)
        member.wait(20.0)
        ended.append(member.task)
        # As TensorFlow's server does: whoever looked meanwhile must find someone again.
        with socket.create_server(("", member.addresses[member.task][1])):
            everyone.wait(20.0)

    everyone = threading.Barrier(3)
    threads = [
        threading.Thread(target=come, args=(member, delay))
        for member, delay in zip(members, (0.0, 0.5, 1.0), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert sorted(ended) == ["worker 0", "worker 1", "worker 2"]


def test_who_does_not_come_is_named_in_time(tf_config, capsys, monkeypatch):
    monkeypatch.setattr(cluster, "_SILENT", 0.3)
    here, there = free_ports.find(2)
    tf_config(config_of(here, there))
    message = rf"waited 1 s for worker 1 \(localhost:{there}: Connection refused\); start every"
    with pytest.raises(Preempted, match=message):
        cluster.Cluster.read().wait(1.0)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"worker 0 waits for worker 1 (localhost:{there}: Connection refused)"]


def test_a_port_that_is_taken_is_named(tf_config, monkeypatch):
    monkeypatch.setattr(cluster, "_BIND", 0.5)
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        tf_config(config_of(port, 1))
        with pytest.raises(ValueError, match=f"port {port}, which TF_CONFIG gives to worker 0"):
            cluster.Cluster.read().wait(1.0)


def raising(error):
    def run():
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Preempted("SIGTERM: saved step 7"), "SIGTERM: saved step 7"),
        (
            tf.errors.UnavailableError(
                None, None, "{{function_node X}} Collective ops is aborted by: gone\nMore"
            ),
            "lost another worker (gone)",
        ),
        (
            tf.errors.UnavailableError(
                None, None, "Error:\n\nDetected at X\nTask 1 heartbeat timeout. This indicates it"
            ),
            "lost another worker (Task 1 heartbeat timeout)",
        ),
        (
            tf.errors.InternalError(None, None, "Barrier failed from a task error."),
            "lost another worker (Barrier failed from a task error.)",
        ),
        (tf.errors.UnavailableError(None, None, "no route"), "lost a service (no route)"),
    ],
)
def test_what_another_run_mends_has_its_code(capsys, error, line):
    assert cluster.exit_code(raising(error)) == 75
    assert capsys.readouterr().err == f"{line}; run the same command again to go on\n"


def test_damaged_records_are_named_and_other_errors_are_raised():
    error = tf.errors.DataLossError(None, None, "Graph error:\ncorrupted record at 7\n\t[[{{x}}]]")
    with pytest.raises(ValueError, match=r"damaged \(corrupted record at 7\); python -m beam_pre"):
        cluster.exit_code(raising(error))
    error = tf.errors.InvalidArgumentError(None, None, "{{node CollectiveReduce}} shapes differ")
    with pytest.raises(tf.errors.InvalidArgumentError):
        cluster.exit_code(raising(error))
    assert cluster.exit_code(lambda: None) is None


def test_workers_that_were_started_otherwise_are_told_so(command, trained_digits, tmp_path):
    ports = free_ports.find(2)
    others = ("--config.seed=7", "--mode=train", f"--workdir={tmp_path / 'v'}")
    started = [
        command.start(
            "tf_perceiver.train",
            "--config=configs/digits.py:tiny",
            f"--data={trained_digits.data}",
            f"--workdir={tmp_path / 'w'}",
            *more,
            env={"TF_CONFIG": config_of(*ports, index=index)},
        )
        for index, more in enumerate([(), others])
    ]
    chief, other = (running.wait(60) for running in started)
    assert (chief.returncode, other.returncode) == (2, 2)
    assert "another worker was started otherwise than the chief" in chief.stderr
    assert 'mode: "train_and_eval" -> "train"; seed: 0 -> 7' in other.stderr
    assert f'workdir: "{tmp_path / "w"}" -> "{tmp_path / "v"}"' in other.stderr
    assert not list(tmp_path.iterdir())
