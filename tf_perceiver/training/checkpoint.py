"""Checkpoints that say what they are, and are used only if they are whole.

Each is TensorFlow's own files plus ``ckpt-<step>.json``, written last and atomically: step, config
digest, dataset fingerprint, and the size and sha256 of every file. What has no such file, or
doesn't match it, isn't a checkpoint.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging
from ml_collections import ConfigDict

from pipelines.records import DatasetInfo
from tf_perceiver import tasks
from tf_perceiver.training import strategy as strategies
from tf_perceiver.training import workdir as workdirs

MANIFEST_PREFIX = "ckpt-"
BEST = "best"  # The folder, beside the checkpoints, of the one with the best evaluation.
SPACE = "what is saved is whole: make space and run the same command again"
DECODERS = ("dec.", "head.", "post.")  # How the names of what follows the latents begin.


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What the json beside a checkpoint says.

    Attributes:
      step: number of steps done.
      config_digest, fingerprint: of the run that saved it.
      files: {file name: {"bytes": size, "sha256": hash}}.
      path: of the json file.
    """

    step: int
    config_digest: str
    fingerprint: str
    files: dict[str, dict[str, Any]]
    path: Path

    @property
    def prefix(self) -> str:
        """What TensorFlow calls the checkpoint."""
        return str(self.path.with_suffix(""))

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Reads the json; raises ValueError where it isn't one of ours."""
        try:
            return cls(path=path, **json.loads(path.read_text()))
        except (TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a checkpoint's manifest: {error}") from error

    def damage(self) -> str | None:
        """What is wrong with the files, or None."""
        for name, expected in self.files.items():
            file = self.path.parent / name
            if not file.exists():
                return f"{name} is missing"
            if file.stat().st_size != expected["bytes"]:
                return f"{name} has {file.stat().st_size} bytes, not {expected['bytes']}"
            if _sha256(file) != expected["sha256"]:
                return f"{name} is not what was written (sha256 differs)"
        return None

    def delete(self) -> None:
        """Deletes the checkpoint."""
        # The manifest goes first: without it the rest isn't a checkpoint any more.
        self.path.unlink()
        for name in self.files:
            (self.path.parent / name).unlink(missing_ok=True)


def _reason(error: tf.errors.OpError | OSError) -> str:
    """What the system says, in one line."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return error.message.strip().splitlines()[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Checkpoints:
    """The checkpoints of one run.

    Args:
      directory: ``<workdir>/checkpoints``.
      objects: what is saved: weights (see `weights_of`), averages, optimizer, guard, global_step.
      config_digest, fingerprint: written into every checkpoint.
      keep: how many of the newest stay.
      strategy: of many workers one writes, and all must call every method together; one process
        alone unless told.

    Attributes:
      newest: the step that was saved or restored last, or None.
    """

    def __init__(
        self,
        directory: Path,
        objects: dict[str, Any],
        *,
        config_digest: str = "",
        fingerprint: str = "",
        keep: int = 3,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.directory, self.keep = directory, keep
        self.strategy = strategy or tf.distribute.get_strategy()
        self.writes = strategies.is_chief(self.strategy)
        self.newest: int | None = None
        self.config_digest, self.fingerprint = config_digest, fingerprint
        self.checkpoint = tf.train.Checkpoint(**objects)

    def save(self, step: int) -> None:
        """Saves the state after `step` steps; deletes the oldest beyond `keep`."""
        self.newest = step
        if not self.writes:
            # Reading what is averaged over the replicas takes all of their workers.
            with tempfile.TemporaryDirectory() as unused:
                self.checkpoint.write(f"{unused}/{MANIFEST_PREFIX}")
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"{MANIFEST_PREFIX}{step:09d}.json"
        try:
            self._write(path, step)
        except (tf.errors.OpError, OSError) as error:
            # What there is of it would only take up the space that may be lacking.
            self._sweep()
            raise OSError(
                f"step {step:,} can't be saved in {self.directory} ({_reason(error)}); {SPACE}"
            ) from error
        for old in manifests(self.directory)[self.keep :]:
            old.delete()
        self._sweep()

    def _write(self, path: Path, step: int) -> None:
        self.checkpoint.write(str(path.with_suffix("")))
        files = {}
        for file in sorted(self.directory.glob(f"{path.stem}.*")):
            if file.suffix in (".json", ".tmp"):
                continue
            _fsync(file)
            files[file.name] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        manifest = {
            "step": step,
            "config_digest": self.config_digest,
            "fingerprint": self.fingerprint,
            "files": files,
        }
        workdirs.write_atomically(path, json.dumps(manifest, indent=1))

    def _sweep(self) -> None:
        """Deletes what saves that were cut short have left: they have no manifest."""
        found = list(self.directory.glob(f"{MANIFEST_PREFIX}*"))
        whole = {file.stem for file in found if file.suffix == ".json"}
        for file in found:
            if file.name.split(".")[0] in whole and file.suffix != ".tmp":
                continue
            if file.is_dir():  # TensorFlow collects the parts of a checkpoint in one.
                shutil.rmtree(file, ignore_errors=True)
            else:
                file.unlink(missing_ok=True)

    def delete(self, which: Callable[[int], bool]) -> None:
        """Deletes the checkpoints of steps for which `which` is true."""
        for manifest in manifests(self.directory) if self.writes else ():
            if which(manifest.step):
                manifest.delete()

    def aside(self, name: str) -> Checkpoints:
        """Checkpoints of the same state in a folder beside these, all of which are kept."""
        other = copy.copy(self)
        other.directory, other.keep = self.directory / name, sys.maxsize
        return other

    def restore(self, up_to: int | None = None) -> int | None:
        """Restores the newest valid checkpoint; returns its step, or None where there is none.

        Args:
          up_to: the last step that will do; any unless told.

        Raises:
          ValueError: checkpoints are there and none is valid: training must not silently start
            again from step 0 over them. Or of many workers one sees other checkpoints.
        """
        manifest = self._of_all_workers(newest_valid(self.directory, up_to))
        if manifest is None:
            return None
        status = self.checkpoint.read(manifest.prefix)
        try:
            status.assert_consumed()
        except AssertionError as error:
            status.expect_partial()
            raise ValueError(
                f"{manifest.path} doesn't hold this run's state ({str(error).splitlines()[0]}); "
                "another version of this package wrote it: go on with that one"
            ) from error
        self.newest = manifest.step
        return manifest.step

    def _of_all_workers(self, manifest: Manifest | None) -> Manifest | None:
        """The chief's checkpoint, as this process sees it."""
        step = strategies.from_chief(self.strategy, manifest and manifest.step)
        if step is not None and manifest and manifest.step > step:
            manifest = newest_valid(self.directory, step)
        found = manifest and manifest.step
        if strategies.any_worker(self.strategy, found != step):
            which = "this worker" if found != step else "another worker"
            raise ValueError(
                f"{self.directory}: {which} doesn't find the chief's newest checkpoint (step "
                f"{step} there, {found} here); give all one --workdir, on a disk that they share"
            )
        return manifest


def manifests(directory: Path) -> list[Manifest]:
    """All manifests, newest first; unreadable ones are left out with a warning."""
    found = []
    for path in directory.glob(f"{MANIFEST_PREFIX}*.json"):
        try:
            found.append(Manifest.read(path))
        except FileNotFoundError:  # Another process has just deleted it.
            continue
        except ValueError as error:
            logging.warning("%s", error)
    return sorted(found, key=lambda manifest: manifest.step, reverse=True)


def newest_valid(directory: Path, up_to: int | None = None) -> Manifest | None:
    """The newest checkpoint whose files are whole, or None where none was ever written.

    Args:
      directory: of the checkpoints.
      up_to: the last step that will do; any unless told.

    Raises:
      ValueError: checkpoints are there and none is valid.
    """
    reasons = []
    for manifest in manifests(directory):
        if up_to is not None and manifest.step > up_to:
            continue
        damage = manifest.damage()
        if damage is None:
            if reasons:
                logging.warning("%s; using step %d instead", "; ".join(reasons), manifest.step)
            return manifest
        reasons.append(f"checkpoint of step {manifest.step}: {damage}")
    leftovers = list(directory.glob(f"{MANIFEST_PREFIX}*.json")) or list(
        directory.glob(f"{MANIFEST_PREFIX}*.index")
    )
    if up_to is None and leftovers and (reasons or any(p.suffix == ".json" for p in leftovers)):
        raise ValueError(
            f"{directory} has checkpoints and none is whole ({'; '.join(reasons) or leftovers[0]});"
            " move the folder away to start from step 0"
        )
    return None


# Properties of a dataset that say what the numbers of its records are.
MEANINGS = ("groups", "layout", "unseen", "word_vectors")


@dataclasses.dataclass(frozen=True)
class Restored:
    """A trained model and what belongs to it."""

    config: ConfigDict
    info: DatasetInfo
    model: tf.keras.Model
    task: tasks.Task
    step: int
    data_directory: str

    def open_records(self, directory: str | None = None) -> tuple[DatasetInfo, str]:
        """Records of the same classes, by default those it was trained on; and their folder.

        Inputs are normalised by the statistics of the records that it was trained on, as the served
        model does: they replace those of other records.

        Raises:
          ValueError: no dataset there, one of other classes, or one whose records hold other
            quantities.
        """
        directory = directory or self.data_directory
        info = DatasetInfo.read(directory)
        if info.labels != self.info.labels:
            raise ValueError(
                f"{directory} has {len(info.labels)} labels, the model was trained on "
                f"{len(self.info.labels)} others; give records of the same classes"
            )
        for name in MEANINGS:
            if info.properties.get(name) != self.info.properties.get(name):
                raise ValueError(
                    f"{directory} has other {name} (of its properties in dataset.json) than the "
                    f"{self.info.name!r} that the model was trained on; give records of the same"
                )
        trained = {"train": self.info.statistics.get("train", {})}
        return dataclasses.replace(info, statistics=info.statistics | trained), directory


def load_for_inference(workdir: str | Path, *, best: bool = False) -> Restored:
    """The model of a workdir with the weights of its newest valid checkpoint.

    Where training averaged them, the averages are what it gets.

    To be called under the strategy's scope where there is one.

    Args:
      workdir: of the training.
      best: takes the checkpoint with the best evaluation instead of the newest.

    Raises:
      ValueError: the folder isn't a workdir, or has no checkpoint yet.
    """
    workdir = Path(workdir)
    run = workdirs.read_run(workdir)
    if run is None:
        raise ValueError(f"{workdir} is not a workdir (no config.json); give tf_perceiver.train's")
    info = DatasetInfo.read(workdir)
    config = ConfigDict(run["config"])
    task = tasks.build(config.task, info)
    model = task.build_model(config.model)
    manifest = newest_valid(workdir / "checkpoints" / (BEST if best else ""))
    if manifest is None and best:
        raise ValueError(f"{workdir} has no best checkpoint; train with config.train.best_metric")
    if manifest is None:
        raise ValueError(f"{workdir} has no checkpoint yet; train first")
    try:
        read_weights(model, manifest)
    except (AssertionError, ValueError) as error:
        raise ValueError(
            f"{manifest.path} doesn't hold the weights of this model "
            f"({str(error).splitlines()[0][:200]}); another version of this package wrote it"
        ) from error
    return Restored(config, info, model, task, manifest.step, run["data"])


def weights_of(model: tf.keras.Model) -> dict[str, tf.Variable]:
    """What of a model goes into a checkpoint: its variables by their neutral names.

    By name and not by attribute, so that a checkpoint outlives a change of the model's code.
    """
    return model.named_weights()


def read_weights(model: tf.keras.Model, manifest: Manifest) -> None:
    """Assigns a checkpoint's weights to the model, or their averages where it has them."""
    _read(weights_of(model), manifest)


def _read(weights: dict[str, tf.Variable], manifest: Manifest) -> None:
    averaged = _saved_shapes(manifest, "averages")
    checkpoint = tf.train.Checkpoint(
        weights={name: v for name, v in weights.items() if name not in averaged},
        averages={name: v for name, v in weights.items() if name in averaged},
    )
    # First of all "partial": else TensorFlow warns of hundreds of unused values after an error.
    checkpoint.read(manifest.prefix).expect_partial().assert_existing_objects_matched()


def init_from(workdir: str | Path, model: tf.keras.Model) -> list[str]:
    """Takes the weights alone, or their averages, from another run's newest valid checkpoint.

    Everything up to the latents must be there, of the same shapes. Of the decoder what fits is
    taken and the rest keeps its fresh values: so a masked language model's encoder, and its way to
    read the latents, go into a classifier.

    Returns:
      Names of the decoder's variables that keep their fresh values.

    Raises:
      ValueError: no checkpoint there, or its model has other variables before the decoder.
    """
    manifest = newest_valid(Path(workdir) / "checkpoints")
    if manifest is None:
        raise ValueError(f"--init_from={workdir} has no checkpoint; give a workdir that trained")
    saved, ours = _saved_shapes(manifest), weights_of(model)
    odd = sorted(
        name
        for name in {*saved, *ours}
        if name not in saved or name not in ours or saved[name] != list(ours[name].shape)
    )
    wrong = [name for name in odd if not name.startswith(DECODERS)]
    fresh = [name for name in odd if name in ours]
    if wrong or len(fresh) == len(ours):
        name = (wrong or fresh)[0]
        here = list(ours[name].shape) if name in ours else "none of that name"
        raise ValueError(
            f"--init_from={workdir}: its {len(saved)} variables don't fit this model ({name}: "
            f"{saved.get(name, 'none of that name')} there, {here} here); use a config with the "
            "same model.inputs and model.trunk"
        )
    taken = {name: variable for name, variable in ours.items() if name not in fresh}
    _read(taken, manifest)
    return fresh


def _saved_shapes(manifest: Manifest, kind: str = "weights") -> dict[str, list[int]]:
    """Shapes of a checkpoint's weights, or of their averages, by their neutral names."""
    before, after = f"{kind}/", "/.ATTRIBUTES/VARIABLE_VALUE"
    # TensorFlow writes a dot of a name as two.
    return {
        key.removeprefix(before).removesuffix(after).replace("..", "."): list(shape)
        for key, shape in tf.train.list_variables(manifest.prefix)
        if key.startswith(before) and key.endswith(after) and "/.OPTIMIZER_SLOT/" not in key
    }
