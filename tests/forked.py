"""Starts a command of ours in a fraction of a second, as if by `python -m`.

Importing TensorFlow, Beam and their company takes ten to twenty seconds, so a test of a command
that starts an interpreter mostly measures imports. A server process imports those packages once,
without touching a device, and forks for every command. The child is a fresh `__main__`: it takes on
the request's arguments, working directory and environment, runs the module with `runpy` and ends as
an interpreter ends (exit handlers run, an uncaught exception prints its traceback). None of our own
modules is imported before the fork, so flags are defined and parsed anew each time.

The standard library's forkserver is close, but its children skip exit handlers, inherit
`multiprocessing` state, and a package that it fails to preload is passed over in silence.

What is read while the packages are imported (`TF_CPP_MIN_LOG_LEVEL` is one) comes from the
server's environment; everything else from the request's.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import gc
import importlib
import json
import os
import pathlib
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# Third-party only: a module of ours in this list would keep its flags and state from test to test.
PRELOADED = (
    "tensorflow",
    "tensorflow_addons",
    "orbit",
    "official.modeling.optimization",
    "official.vision.ops.augment",
    "apache_beam",
    "apache_beam.runners.portability.fn_api_runner",
    "tensorflow_datasets",
    "absl.app",
    "ml_collections.config_flags",
    "matplotlib.pyplot",
    "sklearn.datasets",
    "PIL.Image",
    "rich.progress",
    "trimesh",
)
START_SECONDS = 180  # the packages take 15 s to import on a quiet machine


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended.

    Attributes:
      module: the module that ran.
      returncode: exit code, or minus the number of the signal that ended it.
      stdout: everything written to standard output.
      stderr: everything written to standard error.
      seconds: wall time from the request to the end.
    """

    module: str
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    def check(self) -> Result:
        """Returns itself if the command ended with code 0, else raises AssertionError."""
        if self.returncode != 0:
            raise AssertionError(
                f"{self.module} ended with {self.returncode}\n--- stdout (end)\n"
                f"{self.stdout[-4000:]}\n--- stderr (end)\n{self.stderr[-4000:]}"
            )
        return self


class Running:
    """A command that was started; `pid` takes real signals, and leads its own process group."""

    def __init__(self, server: Server, number: int, module: str, pid: int, log: pathlib.Path):
        self.module = module
        self.pid = pid
        self.stdout_path = log.with_suffix(".stdout")
        self.stderr_path = log.with_suffix(".stderr")
        self._server = server
        self._number = number
        self._started = time.monotonic()
        self._result: Result | None = None

    def poll(self) -> Result | None:
        """Returns the result if the command has ended, else None."""
        with contextlib.suppress(TimeoutError):
            return self._collect(0.0)
        return None

    def wait(self, timeout: float = 120.0) -> Result:
        """Waits for the end.

        Args:
          timeout: seconds; when they have passed, the command's process group is killed.

        Raises:
          AssertionError: the time ran out; the message has the end of the output.
        """
        try:
            return self._collect(timeout)
        except TimeoutError:
            self.kill()
            result = self._collect(10.0)
            raise AssertionError(
                f"{self.module} was still running after {timeout:g} s\n--- stdout (end)\n"
                f"{result.stdout[-4000:]}\n--- stderr (end)\n{result.stderr[-4000:]}"
            ) from None

    def send_signal(self, number: int) -> None:
        """Sends one signal to the command's own process."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills the command and every process that it started in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _collect(self, timeout: float) -> Result:
        if self._result is None:
            returncode = self._server.end_of(self._number, timeout)
            self._result = Result(
                self.module,
                returncode,
                self.stdout_path.read_text(errors="replace"),
                self.stderr_path.read_text(errors="replace"),
                time.monotonic() - self._started,
            )
        return self._result


class Server:
    """The client's side: starts the server process, asks it for commands, hears of their ends."""

    def __init__(self, directory: pathlib.Path):
        """Starts the server; returns at once, the packages are imported meanwhile.

        Args:
          directory: a writable folder for the server's and the commands' output.
        """
        self._directory = directory
        self._log = directory / "server.log"
        self._count = 0
        self._ends: dict[int, int] = {}
        self._started: dict[int, int] = {}
        self._buffer = b""
        self._socket, theirs = socket.socketpair()
        environment = {**os.environ, "MPLBACKEND": "Agg", "TF_CPP_MIN_LOG_LEVEL": "2"}
        with theirs, open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                # -P: tests/ must not be importable; its folders have our packages' names.
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def start(
        self,
        module: str,
        arguments: Iterable[str | os.PathLike[str]] = (),
        *,
        cwd: str | os.PathLike[str],
        env: Mapping[str, str | None] | None = None,
    ) -> Running:
        """Starts `python -m module arguments...`.

        Args:
          module: dotted name, found from `cwd` or among the installed packages.
          arguments: its command line.
          cwd: its working directory.
          env: changes to this process's environment; None removes a variable.
        """
        number, self._count = self._count, self._count + 1
        log = self._directory / f"{number:03d}-{module}.log"
        for suffix in (".stdout", ".stderr"):  # here, so that they can be read as soon as we return
            log.with_suffix(suffix).touch()
        environment = {"MPLBACKEND": "Agg", **os.environ, **(env or {})}
        request = {
            "number": number,
            "module": module,
            "arguments": [os.fspath(argument) for argument in arguments],
            "cwd": os.fspath(cwd),
            "env": {name: value for name, value in environment.items() if value is not None},
            "stdout": str(log.with_suffix(".stdout")),
            "stderr": str(log.with_suffix(".stderr")),
        }
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        self._hear(START_SECONDS, lambda: number in self._started)
        return Running(self, number, module, self._started.pop(number), log)

    def end_of(self, number: int, timeout: float) -> int:
        """Waits for a command's exit code; raises TimeoutError after `timeout` seconds."""
        self._hear(timeout, lambda: number in self._ends)
        return self._ends[number]

    def close(self) -> None:
        """Ends the server and whatever it still runs."""
        self._socket.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _hear(self, timeout: float, done: Callable[[], bool]) -> None:
        """Takes in messages until `done()`."""
        until = time.monotonic() + timeout
        while not done():
            left = max(0.0, until - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                raise TimeoutError(f"no word from the fork server within {timeout:g} s")
            received = self._socket.recv(65536)
            if not received:
                tail = self._log.read_text(errors="replace")[-4000:]
                raise RuntimeError(f"the fork server ended\n{tail}")
            *lines, self._buffer = (self._buffer + received).split(b"\n")
            for line in lines:
                message = json.loads(line)
                table = self._started if "pid" in message else self._ends
                table[message["number"]] = message.get("pid", message.get("returncode"))


def serve(connection: socket.socket) -> dict[str, Any]:
    """The server's loop: forks a child for every request line and reports children that ended.

    Returns:
      In a child alone: its request. The server itself leaves by SystemExit once the client is gone.
    """
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # with a handler, the wake-up pipe is written
    signal.set_wakeup_fd(waker)
    children: dict[int, int] = {}  # pid -> number of its request

    def say(**message: int) -> None:
        connection.sendall(json.dumps(message).encode() + b"\n")

    buffer = b""
    while True:
        ready, _, _ = select.select([connection, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            for pid in list(children):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    returncode = os.waitstatus_to_exitcode(status)
                    say(number=children.pop(pid), returncode=returncode)
        if connection in ready:
            received = connection.recv(65536)
            if not received:
                for pid in children:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                raise SystemExit(0)
            *lines, buffer = (buffer + received).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for descriptor in (wake, waker, connection.detach()):
                        os.close(descriptor)
                    return request
                os.setpgid(pid, pid)  # here too: the group exists before the client hears of it
                children[pid] = request["number"]
                say(number=request["number"], pid=pid)


def become(request: dict[str, Any], ending: _Ending) -> None:
    """Turns this freshly forked process into `python -m module arguments...` and runs it."""
    with contextlib.suppress(PermissionError):  # the server was quicker
        os.setpgid(0, 0)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        opened = os.open(request[name], os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path.insert(0, request["cwd"])  # as python -m does
    sys.argv = [request["module"], *request["arguments"]]
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        ending.returncode = 0
    except SystemExit as ended:
        code = 0 if ended.code is None else ended.code
        ending.returncode = code & 0xFF if isinstance(code, int) else 1
        raise
    except Exception:
        ending.returncode = 1
        raise


class _Ending:
    """The last exit handler: leaves at once; to free every module would take two seconds more.

    By then the interpreter has printed what there was to print, joined the threads and run all
    other handlers: they run in reverse order of registration, and this one is registered first.
    """

    returncode: int | None = None

    def __call__(self) -> None:
        if self.returncode is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.returncode)


def main() -> None:
    """Imports the packages, then serves the socket whose number is the only argument."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    ending = _Ending()
    atexit.register(ending)
    for name in PRELOADED:
        importlib.import_module(name)
    # A process that has touched its devices has threads and locks which don't survive a fork.
    from tensorflow.python.eager import context

    if context.context_safe() is not None and context.context_safe()._initialized:
        raise RuntimeError("a package in PRELOADED touched TensorFlow's devices: take it out")
    gc.collect()
    gc.freeze()  # else a child's first collection writes to, and so copies, every page
    become(serve(connection), ending)


if __name__ == "__main__":
    main()
