"""Progress lines."""

from __future__ import annotations

import re
import time

from beam_preprocess import progress, publish, shards


def test_finished_shards_are_shown_once_by_split(tmp_path, capsys):
    output = publish.OutputFolder(str(tmp_path / "out"), overwrite=False)
    output.start()
    jobs = [
        shards.ShardJob(split, index, f"{split}-{index}", 600)
        for split in ("train", "test")
        for index in range(2)
    ]
    with progress.shown(output, jobs, seconds=0.01):
        time.sleep(0.1)
        assert capsys.readouterr().out == ""
        shards.write_file(shards.shard_path(output.work, jobs[0]), b"")
        shards.write_file(shards.shard_path(output.work, jobs[1]), b"")
        time.sleep(0.3)
        shards.write_file(shards.shard_path(output.work, jobs[2]), b"")
        time.sleep(0.3)
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"train: 2/2 shards, 1,200 records, [0-9,]+ records/s", lines[-2])
    assert re.fullmatch(r"test: 1/2 shards, 600 records, [0-9,]+ records/s", lines[-1])
    assert len(lines) in (2, 3)  # The two training shards may have been seen one by one.
    output.discard()
    output.release()
    assert not (tmp_path / "out").exists()
