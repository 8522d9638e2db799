"""A process that is measured, and the one that asks it; needs the standard library alone.

The asking side says which of the worker's calls to run, one JSON line each, and reads how long it
took and how high the resident memory went. So two implementations that can't share an interpreter
take turns all the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import peak

ROOT = Path(__file__).resolve().parent.parent
Calls = Mapping[str, Callable[[], object]]


def serve(build: Callable[[], tuple[Calls, Mapping[str, Any]]]) -> None:
    """The worker's side: builds, then runs what it is asked for until its input ends.

    Args:
      build: makes {name: call that waits for its result} and facts to be told. Memory is counted
        above what the process has when this is called.
    """
    _end_with_parent()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What libraries print is no answer.
    baseline = peak.baseline()
    with peak.watching() as watched:
        calls, facts = build()
    built = watched.bytes - baseline
    print(json.dumps({**facts, "baseline_bytes": baseline, "built_bytes": built}), file=answers)
    for line in sys.stdin:
        with peak.watching() as watched:
            started = time.perf_counter()
            calls[json.loads(line)]()
            seconds = time.perf_counter() - started
        answer = {"seconds": seconds, "peak_bytes": watched.bytes - baseline}
        print(json.dumps(answer), file=answers)


def _end_with_parent() -> None:
    """Has the kernel end this process when the asking one dies, in the midst of a call too."""
    parent_death = 1  # PR_SET_PDEATHSIG, see prctl(2).
    with contextlib.suppress(AttributeError, OSError):  # Not Linux: it ends after the call.
        ctypes.CDLL(None).prctl(parent_death, signal.SIGTERM)


class Worker:
    """The asking side of a worker.

    Args:
      python: an interpreter. module: of ours, that calls `serve`. arguments: of its own.
      environment: variables to be set for it.

    Attributes:
      facts: what the worker told when it had built.

    Raises:
      ValueError: it ended before it was ready.
    """

    def __init__(
        self,
        python: str,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = f"{module} {' '.join(arguments)}"
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.facts = self._read()

    def run(self, call: str) -> dict[str, float]:
        """Runs a call; {"seconds", "peak_bytes" above the baseline}."""
        print(json.dumps(call), file=self._process.stdin, flush=True)
        return self._read()

    def close(self) -> None:
        """Lets it end, and waits."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise ValueError(f"{self.name} ended with {code}; what it said is above")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
