"""Tasks: what is asked of a batch, with its loss and metrics. One file a task, named here."""

from __future__ import annotations

from collections.abc import Mapping

from tf_perceiver.tasks.classification import Classification

TASKS = {"classification": Classification}


def build(config: Mapping, num_classes: int) -> Classification:
    """Builds the task of ``config.task``: {"name": ..., its fields}.

    Raises:
      ValueError: an unknown name.
    """
    fields = dict(config)
    name = fields.pop("name")
    if name not in TASKS:
        raise ValueError(f"config.task.name={name!r} is none of {sorted(TASKS)}")
    return TASKS[name](num_classes, **fields)
