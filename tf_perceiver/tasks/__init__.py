"""Tasks: what is asked of a batch, with its loss and metrics. One file a task, named here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tf_perceiver.tasks.audioset import AudioSet
from tf_perceiver.tasks.autoencoding import Autoencoding
from tf_perceiver.tasks.classification import Classification
from tf_perceiver.tasks.flow import Flow
from tf_perceiver.tasks.masked_lm import MaskedLM
from tf_perceiver.tasks.mortality import Mortality
from tf_perceiver.tasks.sentences import Sentences, Similarity
from tf_perceiver.tasks.survival import Survival
from tf_perceiver.tasks.task import Task
from tf_perceiver.tasks.zero_shot import ZeroShot

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo

TASKS: dict[str, type[Task]] = {
    "audioset": AudioSet,
    "autoencoding": Autoencoding,
    "classification": Classification,
    "flow": Flow,
    "masked_lm": MaskedLM,
    "mortality": Mortality,
    "sentences": Sentences,
    "similarity": Similarity,
    "survival": Survival,
    "zero_shot": ZeroShot,
}


def build(config: Mapping, info: DatasetInfo) -> Task:
    """Builds the task of ``config.task``: {"name": ..., its fields}, for a dataset.

    Raises:
      ValueError: an unknown name.
    """
    fields = dict(config)
    name = fields.pop("name")
    if name not in TASKS:
        raise ValueError(f"config.task.name={name!r} is none of {sorted(TASKS)}")
    return TASKS[name](info, **fields)
