"""The workers that TF_CONFIG names: found, waited for, and missed when they are gone.

TensorFlow's own start waits for the other workers without a word, deaf to ^C, for up to an hour,
and can't be tried again within a process. So every worker first waits until all others answer on
their ports, in the open and with an end, and only then is TensorFlow started.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable

import tensorflow as tf

from tf_perceiver.training.preemption import EXIT_CODE, Preempted

JOBS = ("chief", "worker")
WAIT = 600.0  # Seconds for all workers to be there; on a cluster they start minutes apart.
_BIND = 30.0  # Seconds for an earlier process of this worker to free the port.
_SILENT = 10.0  # Seconds before it is said who is waited for.
_PAUSE = 0.2  # Seconds between two looks.
_EXAMPLE = (
    """TF_CONFIG='{"cluster": {"worker": ["host0:2222", "host1:2222"]}, """
    """"task": {"type": "worker", "index": 0}}'"""
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What TF_CONFIG says.

    Attributes:
      addresses: {name: (host, port)}, such as {"worker 0": ("host0", 2222)}.
      task: the name of this worker.
    """

    addresses: dict[str, tuple[str, int]]
    task: str

    @classmethod
    def read(cls) -> Cluster:
        """From the environment.

        Raises:
          ValueError: there is none, or it isn't whole: it would silently give one worker alone.
        """
        try:
            config = json.loads(os.environ["TF_CONFIG"])
            addresses = {
                f"{job} {index}": _address(address)
                for job in JOBS
                for index, address in enumerate(config["cluster"].get(job, ()))
            }
            task = f"{config['task']['type']} {int(config['task']['index'])}"
            if task not in addresses:
                raise ValueError(f"task {task} is none of {', '.join(addresses)}")
            if len({*addresses.values()}) < len(addresses):
                raise ValueError("two workers have the same address")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise ValueError(
                f"--strategy=multi_worker needs TF_CONFIG with cluster and task ({reason}); "
                f"set it on every worker, e.g. {_EXAMPLE}"
            ) from error
        return cls(addresses, task)

    def wait(self, timeout: float = WAIT) -> None:
        """Waits until all other workers are there.

        Raises:
          ValueError: this worker's port is taken.
          Preempted: another one didn't come.
        """
        missing = [name for name in self.addresses if name != self.task]
        began, said = time.monotonic(), False
        with self._listen() as listener:
            while True:
                reasons = {name: _unreachable(self.addresses[name]) for name in missing}
                missing = [name for name in missing if reasons[name]]
                if not missing:
                    return
                _greet(listener)
                waited = time.monotonic() - began
                who = ", ".join(
                    f"{name} ({':'.join(map(str, self.addresses[name]))}: {reasons[name]})"
                    for name in missing
                )
                if waited > timeout:
                    raise Preempted(
                        f"waited {timeout:.0f} s for {who}; start every worker, with the same "
                        "cluster in TF_CONFIG"
                    )
                if waited > _SILENT and not said:
                    said = True
                    print(f"{self.task} waits for {who}", file=sys.stderr, flush=True)
                time.sleep(_PAUSE)

    def _listen(self) -> socket.socket:
        """Answers on this worker's port, so that the others find it."""
        _, port = self.addresses[self.task]
        until = time.monotonic() + _BIND
        while True:
            try:
                listener = socket.create_server(("", port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE and time.monotonic() < until:
                    time.sleep(_PAUSE)
                    continue
                raise ValueError(
                    f"port {port}, which TF_CONFIG gives to {self.task}, can't be had "
                    f"({os.strerror(error.errno)}); is this worker running already, or is the "
                    "index another's?"
                ) from error
            listener.setblocking(False)
            return listener


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _unreachable(address: tuple[str, int]) -> str:
    """Why nobody answers there; empty if somebody does."""
    try:
        socket.create_connection(address, timeout=1.0).close()
        return ""
    except OSError as error:  # Not there yet, or the name isn't known yet.
        return error.strerror or str(error)


def _greet(listener: socket.socket) -> None:
    """Takes the calls of those who only want to know that someone is here."""
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()


def connect() -> tf.distribute.MultiWorkerMirroredStrategy:
    """Joins the cluster of TF_CONFIG.

    Raises:
      ValueError, Preempted: see `Cluster`.
    """
    Cluster.read().wait()
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler wouldn't get to run.
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    finally:
        signal.signal(signal.SIGINT, before)


# How TensorFlow says it depends on what the workers that are left were doing.
_LOST = re.compile(
    "Collective ops is aborted by|Barrier failed|heartbeat timeout|[Cc]oordination (service|agent)"
    "|incarnation|check alive failed"
)
_DAMAGED = re.compile("(corrupted|truncated) record.*")
# What says nothing: names of operations in braces, who noticed first, and what it may mean.
_NOISE = re.compile(r"\{\{.*?\}\}\s*|Collective ops is aborted by: |\. This indicates .*")


def exit_code(run: Callable[[], None]) -> int | None:
    """Runs a command that can be stopped, or be left alone by others; gives its exit code.

    Raises:
      ValueError: a record is damaged.
      OpError: what TensorFlow raises for any other reason.
    """
    try:
        run()
        return None
    except Preempted as preempted:
        why = str(preempted)
    except tf.errors.OpError as error:
        lines = error.message.strip().splitlines()
        losses = [line for line in lines if _LOST.search(line)]
        damaged = _DAMAGED.search(error.message)
        if losses:
            why = f"lost another worker ({_NOISE.sub('', losses[0])[:200]})"
        elif isinstance(error, tf.errors.UnavailableError):  # A TPU, storage, tf.data service.
            why = f"lost a service ({_NOISE.sub('', lines[-1])[:200]})"
        elif isinstance(error, tf.errors.DataLossError) and damaged:
            raise ValueError(
                f"the records are damaged ({damaged[0]}); python -m beam_preprocess.verify "
                "DIR tells which; write or copy them again"
            ) from error
        else:
            raise
    print(f"{why}; run the same command again to go on", file=sys.stderr)
    return EXIT_CODE
