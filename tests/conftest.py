"""What every test can ask for: commands that start quickly, and commands in a real interpreter."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

import hypothesis
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# For `import reference`. Last, so that the packages win over the folders of their tests.
sys.path.append(str(ROOT / "tests"))

# A deadline in milliseconds measures the machine; with fixed examples a failure stays one.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tests")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


# What takes no time and fails most often goes first, then what takes longest.
FIRST = ("tests/test_arrows.py", "tests/test_packaging.py", "tests/end_to_end/", "tests/docs/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files of `FIRST` first, in that order; the others stay as they are."""

    def rank(item: pytest.Item) -> int:
        found = (i for i, prefix in enumerate(FIRST) if item.nodeid.startswith(prefix))
        return next(found, len(FIRST))

    items.sort(key=rank)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a test's bytes by their argument: content may hold the time, and workers must agree."""
    return argname if isinstance(val, bytes) else None


def _load_forked():
    # By path: site-packages has a `tests` of its own, and tests/ itself must stay off sys.path.
    specification = importlib.util.spec_from_file_location("forked", ROOT / "tests" / "forked.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["forked"] = module
    specification.loader.exec_module(module)
    return module


forked = _load_forked()


@pytest.fixture(scope="session")
def checkout() -> pathlib.Path:
    """The root of the checkout, where commands run unless a test says otherwise."""
    return ROOT


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[forked.Server]:
    """The fork server: one a test process, started when first asked for."""
    server = forked.Server(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()


class Command:
    """Runs our commands by forking; `command("tf_perceiver.train", "--data=...").check()`."""

    def __init__(self, server: forked.Server):
        self._server = server
        self._running: list[forked.Running] = []

    def start(
        self,
        module: str,
        *arguments: str | os.PathLike[str],
        cwd: str | os.PathLike[str] = ROOT,
        env: Mapping[str, str | None] | None = None,
    ) -> forked.Running:
        """Starts a command; the handle has `pid`, `poll`, `wait`, `send_signal` and `kill`."""
        running = self._server.start(module, arguments, cwd=cwd, env=env)
        self._running.append(running)
        return running

    def __call__(
        self,
        module: str,
        *arguments: str | os.PathLike[str],
        cwd: str | os.PathLike[str] = ROOT,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 120.0,
    ) -> forked.Result:
        """Runs a command to its end; whatever runs after `timeout` seconds is killed and fails."""
        return self.start(module, *arguments, cwd=cwd, env=env).wait(timeout)

    def close(self) -> None:
        """Kills what still runs."""
        for running in self._running:
            if running.poll() is None:
                running.kill()


@pytest.fixture
def command(fork_server: forked.Server) -> Iterator[Command]:
    """Runs one of our modules as a command, without paying for TensorFlow's import."""
    command = Command(fork_server)
    yield command
    command.close()


@pytest.fixture(scope="session")
def real_command():
    """Runs `python -m module arguments...` in an interpreter of its own: slow, nothing shared."""

    def run(
        module: str,
        *arguments: str | os.PathLike[str],
        cwd: str | os.PathLike[str] = ROOT,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 300.0,
    ) -> forked.Result:
        environment = {"MPLBACKEND": "Agg", **os.environ, **(env or {})}
        started = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", module, *map(os.fspath, arguments)],
            cwd=cwd,
            env={name: value for name, value in environment.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
        seconds = time.monotonic() - started
        return forked.Result(module, ended.returncode, ended.stdout, ended.stderr, seconds)

    return run
