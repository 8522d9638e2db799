"""The folder of one training run: what it was started with, and its log.

``config.json`` (config, its digest, data folder, dataset fingerprint), ``dataset.json`` (a copy of
the data's), ``metrics.jsonl``, ``checkpoints/``, ``train/`` and ``eval/`` (TensorBoard),
``report/``, ``saved_model/<step>/`` and, once everything is there, ``DONE``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipelines.records import DatasetInfo

# What may differ when a run goes on, whose numbers are the same then: which machines prepare its
# input, and whether the attention's probabilities are kept or computed again.
IDLE = ("data.service", "model.trunk.keep_probabilities")


def write_atomically(path: Path, text: str) -> None:
    """Writes a small file so that it is there whole or not at all."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def claim(workdir: Path, config: dict[str, Any], data: str | Path, info: DatasetInfo) -> None:
    """Makes the workdir this run's; to be called after `check_claim`, once nothing can fail."""
    if read_run(workdir) is not None:
        return
    workdir.mkdir(parents=True, exist_ok=True)
    info.write(workdir)
    run = {
        "config": config,
        "digest": digest(config),
        "data": str(data) if "://" in str(data) else str(Path(data).resolve()),
        "fingerprint": info.fingerprint,
    }
    write_atomically(workdir / "config.json", json.dumps(run, indent=1, default=list))


def check_claim(
    workdir: Path, config: dict[str, Any], data: str | Path, info: DatasetInfo
) -> None:
    """Finds that the workdir is free or this run's already; writes nothing.

    Raises:
      ValueError: it belongs to a run with another config or other data; the message has the
        differences. Or it isn't a local folder.
    """
    # A Path would take gs:// and the like for a local name.
    if ":/" in str(workdir):
        raise ValueError(
            f"--workdir={workdir} is not a local folder; train into one and copy it afterwards"
        )
    run = read_run(workdir)
    if run is None:
        if (workdir / "checkpoints").exists():
            raise ValueError(
                f"{workdir} has checkpoints and no config.json to say of which run; "
                "use another --workdir"
            )
        return
    if changed := differences(run["config"], config):
        raise ValueError(
            f"{workdir} was started with another config ({'; '.join(changed)}); "
            "start it as before, or use another --workdir (with --init_from to keep the weights)"
        )
    if run["fingerprint"] != info.fingerprint:
        raise ValueError(
            f"{workdir} was started on other data: {run['data']} with fingerprint "
            f"{run['fingerprint'][:12]}, --data={data} has {info.fingerprint[:12]}; "
            "give the same records, or use another --workdir"
        )


def read_run(workdir: Path) -> dict[str, Any] | None:
    """``config.json`` of a workdir: {"config", "digest", "data", "fingerprint"}, or None."""
    path = workdir / "config.json"
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is damaged ({error}); restore it or use another workdir"
        ) from error


def digest(config: dict[str, Any]) -> str:
    """sha256 of what decides in a config, independent of the order of its keys."""
    return hashlib.sha256(canonical(_decisive(config)).encode()).hexdigest()


def _decisive(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The config without `IDLE`."""
    left = {name: part for name, part in config.items() if f"{prefix}{name}" not in IDLE}
    return {
        name: _decisive(part, f"{prefix}{name}.") if isinstance(part, dict) else part
        for name, part in left.items()
    }


def canonical(value: Any) -> str:
    """One spelling for equal configs: sorted keys, tuples as lists."""
    return json.dumps(value, sort_keys=True, default=list)


def flatten(config: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """("section.field", JSON of the value) for every leaf."""
    for key, value in sorted(config.items()):
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", canonical(value)


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Where two configs differ, e.g. ["optimizer.learning_rate: 0.004 -> 0.001"]."""
    before, after = (dict(flatten(_decisive(config))) for config in (old, new))
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


class MetricsLog:
    """``metrics.jsonl``: one JSON object a line, flushed at once.

    Args:
      path: of the file; None writes nothing.
      start_step: rows of later steps are dropped: the run is about to write them again.
    """

    def __init__(self, path: Path | None, start_step: int) -> None:
        self._path, self._file = path, None
        self.rewind(start_step)

    def rewind(self, step: int) -> None:
        """Drops the rows of later steps."""
        if self._path is None:
            return
        rows = [row for row in read_metrics(self._path) if row["step"] <= step]
        if self._file is not None:
            self._file.close()
        write_atomically(self._path, "".join(json.dumps(row) + "\n" for row in rows))
        self._file = self._path.open("a")

    def write(self, row: dict[str, Any]) -> None:
        """Appends a row."""
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of ``metrics.jsonl``; a last line cut by a kill is left out."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return
