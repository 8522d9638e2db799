"""The output folder: what may be in it, the work folder inside it, and how a dataset appears."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable

from apache_beam.io.filesystems import FileSystems

from beam_preprocess import manifest
from beam_preprocess.manifest import InputError
from beam_preprocess.rejects import REJECTS_FILE
from beam_preprocess.shards import SHARDS_FOLDER, read_file, write_file
from beam_preprocess.tfds_metadata import METADATA_FILES
from pipelines.records import DATASET_FILE, DatasetError, DatasetInfo

WORK_FOLDER = "_work"
_PLAN_FILE = "publishing.json"


class OutputFolder:
    """An output folder that is being written.

    Shards are made in a work folder inside it. Publishing first writes down which names will be
    ours, so that after an interruption at any moment the next job knows what it may delete.

    Args:
      path: local, or of a scheme Beam knows (gs://).
      overwrite: whether a finished dataset may be replaced; it stays until the new one is complete.

    Raises:
      InputError: the folder holds a finished dataset and `overwrite` is not set, or files that no
        job of ours wrote.
    """

    def __init__(self, path: str, overwrite: bool) -> None:
        self.path = path
        self.work = manifest.join(path, WORK_FOLDER)
        self._remote = "://" in path
        self._old: set[str] = set()
        entries = self._entries()
        if DATASET_FILE in entries:
            self._old = self._finished_names(overwrite)
        elif WORK_FOLDER in entries:
            self._old = self._interrupted_names()
        foreign = sorted(entries - self._old - {WORK_FOLDER})
        if foreign:
            shown = ", ".join(foreign[:3]) + (" ..." if len(foreign) > 3 else "")
            raise InputError(
                f"--output={path}: holds files that this command did not write ({shown}); they are "
                "never deleted: choose an empty or a new folder"
            )
        self._interrupted = DATASET_FILE not in entries
        self._lock: int | None = None

    def start(self) -> None:
        """Takes the folder for this job and gives it an empty work folder.

        Raises:
          InputError: another job is writing to it.
        """
        if not self._remote:
            self._lock = self._take_lock()
        if self._interrupted:  # Pieces of a publication that did not come to its end.
            self._delete(self._old)
            self._old = set()
        self._clear_work()

    def publish(self, info: DatasetInfo) -> None:
        """Moves everything from the work folder's shards into place, `dataset.json` last.

        Args:
          info: describes the shards that lie in the work folder.
        """
        staged = manifest.join(self.work, SHARDS_FOLDER)
        names = sorted(self._list(staged))
        plan = sorted(self._old | set(names) | {DATASET_FILE})
        write_file(manifest.join(self.work, _PLAN_FILE), json.dumps(plan).encode())
        # Without dataset.json the old dataset is no dataset any more; only then its shards may go.
        self._delete([DATASET_FILE] if DATASET_FILE in self._old else [])
        self._delete(self._old - {DATASET_FILE})
        FileSystems.rename(
            [manifest.join(staged, name) for name in names],
            [manifest.join(self.path, name) for name in names],
        )
        self._sync()
        write_file(manifest.join(self.path, DATASET_FILE), info.to_json().encode())
        self._sync()
        self._remove_work()

    def release(self) -> None:
        """Lets go of the folder; the work folder stays where publishing broke off."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Removes the work folder of a failed job, and the output folder if nothing is left."""
        self._remove_work()
        if not self._remote and not os.listdir(self.path):
            os.rmdir(self.path)

    def finished_shards(self) -> set[str]:
        """Names of the shards that are complete in the work folder."""
        return self._list(manifest.join(self.work, SHARDS_FOLDER))

    def _entries(self) -> set[str]:
        if not self._remote and os.path.exists(self.path) and not os.path.isdir(self.path):
            raise InputError(f"--output={self.path}: is a file; name a folder")
        return self._list(self.path)

    def _list(self, folder: str) -> set[str]:
        if not self._remote:
            names = os.listdir(folder) if os.path.isdir(folder) else []
            return {name for name in names if not name.startswith(".part-")}
        prefix = folder.rstrip("/") + "/"
        found = FileSystems.match([prefix + "**"])[0].metadata_list
        return {entry.path[len(prefix) :].split("/")[0] for entry in found}

    def _finished_names(self, overwrite: bool) -> set[str]:
        try:
            text = read_file(manifest.join(self.path, DATASET_FILE)).decode()
            info = DatasetInfo.from_json(text, manifest.join(self.path, DATASET_FILE))
        except (DatasetError, UnicodeDecodeError) as error:
            raise InputError(
                f"--output={self.path}: its {DATASET_FILE} is not one of this version's, so "
                f"nothing there is replaced; choose another folder ({error})"
            ) from None
        if not overwrite:
            raise InputError(
                f"--output={self.path}: holds a finished dataset ({info.name}); pass --overwrite "
                "to replace it, or choose another folder"
            )
        shards = {shard.name for split in info.splits.values() for shard in split.shards}
        return shards | {DATASET_FILE, REJECTS_FILE, *METADATA_FILES} & self._entries()

    def _interrupted_names(self) -> set[str]:
        plan = manifest.join(self.work, _PLAN_FILE)
        if _PLAN_FILE not in self._list(self.work):
            return set()
        return set(json.loads(read_file(plan)))

    def _take_lock(self) -> int:
        os.makedirs(self.work, exist_ok=True)
        lock = os.open(os.path.join(self.work, "lock"), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Ends when the process does.
        except BlockingIOError:
            os.close(lock)
            raise InputError(
                f"--output={self.path}: another job is writing to it; wait for it or choose "
                "another folder"
            ) from None
        except OSError:
            pass  # A file system without locks.
        return lock

    def _clear_work(self) -> None:
        if self._remote:
            self._remove_work()
            return
        for name in os.listdir(self.work):
            path = os.path.join(self.work, name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif name != "lock":
                os.remove(path)
        for name in ("items", "rejects", SHARDS_FOLDER):
            os.makedirs(os.path.join(self.work, name))

    def _remove_work(self) -> None:
        if not self._remote:
            shutil.rmtree(self.work)
            return
        found = FileSystems.match([self.work + "/**"])[0].metadata_list
        if found:
            FileSystems.delete([entry.path for entry in found])

    def _delete(self, names: Iterable[str]) -> None:
        existing = self._list(self.path)
        paths = [manifest.join(self.path, name) for name in sorted(names) if name in existing]
        if paths:
            FileSystems.delete(paths)
            self._sync()

    def _sync(self) -> None:
        if self._remote:
            return
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
