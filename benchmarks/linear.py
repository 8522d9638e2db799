"""What a linear model makes of the same records.

A score says little without what it is to be compared with. Both splits come through the config's
own evaluation pipeline, so the linear model sees what the Perceiver sees: the same region, clip and
spectrogram, unaugmented. Each modality is standardised and reduced to its principal components;
multinomial logistic regression learns from them, of a strength that cross-validation within the
training split chooses.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import json
from typing import Any

import numpy as np
from absl import flags
from ml_collections import config_flags
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipelines import input_pipeline
from pipelines.records import DatasetInfo

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # scikit-learn's C
FOLDS = 4


def examples(
    info: DatasetInfo, directory: str, data: Any, split: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Every example of a split.

    Args:
      info, directory: of the records. data: ``config.data``. split: name of the split.

    Returns:
      {modality: float32 [examples, numbers]}, and the labels' numbers, int [examples].

    Raises:
      ValueError: the target is no label.
    """
    batches = list(
        input_pipeline.eval_stream(
            info, directory, data, split=split, replica_batch=data.eval_batch_size
        ).as_numpy_iterator()
    )
    if "label" not in batches[0]:
        raise ValueError(f"{directory}: {info.name} has no labels to be told from each other")
    counted = np.concatenate([batch.pop("weight") for batch in batches]) > 0
    whole = {name: np.concatenate([it[name] for it in batches])[counted] for name in batches[0]}
    labels = whole.pop("label").argmax(-1)
    return {name: it.reshape(len(it), -1) for name, it in whole.items()}, labels


def accuracy(
    train: tuple[dict[str, np.ndarray], np.ndarray],
    test: tuple[dict[str, np.ndarray], np.ndarray],
    components: int,
    seed: int = 0,
) -> tuple[float, float]:
    """Fits to the one split and scores the other.

    Args:
      train, test: of `examples`. components: of each modality, at most. seed: of the randomised
        principal components.

    Returns:
      The accuracy on the test split, and the strength that was chosen (scikit-learn's C).
    """
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for name, values in train[0].items():
        count = min(components, *values.shape)
        reduced = make_pipeline(
            StandardScaler(), PCA(count, svd_solver="randomized", random_state=seed)
        )
        known = reduced.fit_transform(values)
        scale = known.std(axis=0).max() + 1e-12  # No modality outweighs another by its size.
        parts["train"].append(known / scale)
        parts["test"].append(reduced.transform(test[0][name]) / scale)
    search = GridSearchCV(LogisticRegression(max_iter=2000), {"C": STRENGTHS}, cv=FOLDS)
    search.fit(np.concatenate(parts["train"], axis=1), train[1])
    score = search.score(np.concatenate(parts["test"], axis=1), test[1])
    return float(score), float(search.best_params_["C"])


def main(argv: list[str]) -> None:
    """Reads, fits, prints one JSON line."""
    del argv
    asked = flags.FLAGS
    for name in ("config", "data"):
        if getattr(asked, name) is None:
            raise ValueError(f"--{name} is missing; see --help")
    config, info = asked.config, DatasetInfo.read(asked.data)
    data = config.data
    train, test = (
        examples(info, asked.data, data, split) for split in (data.train_split, data.eval_split)
    )
    score, strength = accuracy(train, test, asked.components)
    answer = {
        "config": config.name,
        "inputs": sorted(train[0]),
        "split": data.eval_split,
        "examples": len(test[1]),
        "strength": strength,
        "accuracy": score,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", None, "Experiment and variant.", lock_config=True)
    flags.DEFINE_string("data", None, "Folder that beam_preprocess.run has written.")
    flags.DEFINE_integer("components", 200, "Principal components, at most.", lower_bound=1)
    command_line.run(main)
