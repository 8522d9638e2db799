"""Progress of a job: finished shards, records and their rate."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beam_preprocess.publish import OutputFolder
    from beam_preprocess.shards import ShardJob


@contextmanager
def shown(output: OutputFolder, jobs: Sequence[ShardJob], seconds: float = 5.0) -> Iterator[None]:
    """Prints lines such as `train: 3/8 shards, 4,312 records, 812 records/s` inside a `with`.

    It looks into the work folder, so it works alike for every runner and every kind of worker.

    Args:
      output: the job's output folder.
      jobs: all shards of the job.
      seconds: between two looks; nothing is printed where nothing changed.
    """
    finished = threading.Event()
    start = time.monotonic()

    def show(previous: set[str]) -> set[str]:
        names = output.finished_shards()
        if names == previous:
            return previous
        records = sum(job.items for job in jobs if job.name in names)
        rate = records / (time.monotonic() - start)
        changed = {job.split for job in jobs if job.name in names - previous}
        for split in sorted(changed, key=lambda name: (name != "train", name)):
            mine = [job for job in jobs if job.split == split]
            done = [job for job in mine if job.name in names]
            count = sum(job.items for job in done)
            print(
                f"{split}: {len(done)}/{len(mine)} shards, {count:,} records, "
                f"{rate:,.0f} records/s",
                flush=True,
            )
        return names

    def watch() -> None:
        seen: set[str] = set()
        while not finished.wait(seconds):
            try:
                seen = show(seen)
            except Exception as error:  # Progress is a courtesy; the job decides what fails.
                logging.getLogger(__name__).info("no progress: %s", error)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()
