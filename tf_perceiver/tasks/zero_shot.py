"""Classes that training never saw, known by the word vectors of their names alone.

Reference for the protocol and its numbers: Mercea et al., "Audio-visual generalised zero-shot
learning with cross-modal attention and language", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from pipelines.records import unpack_floats
from tf_perceiver.model import perceiver
from tf_perceiver.model.prototypes import PrototypePerceiver
from tf_perceiver.tasks import stacking
from tf_perceiver.tasks.task import Batch, Task

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo

CHOSEN = -1.0  # A bias that is chosen on the split that is evaluated.
FINAL_STAGE = 2


class ZeroShot(Task):
    """The nearest class by its word vector, seen in training or not.

    The model maps an example to a point in the space of the word vectors, which are made one long.
    Scores are minus the distances to them, multiplied by `scale`; training takes the softmax
    cross-entropy of these over the classes that it sees. (The benchmark's own methods learn by
    triplets; the cross-entropy compares with all seen classes at once and has no margin to choose.)

    Args:
      info: the dataset's description, with the properties "word_vectors" and "unseen".
      scale: of distances, one over the softmax's temperature.
      bias: added to the seen classes' scaled distances, in evaluation and in the served model;
        negative: evaluation chooses, of `biases`, the one with the highest harmonic mean, and the
        served model adds none. Stage 2 of the protocol takes what stage 1 chose.
      biases: (lowest, highest, how many) are tried.

    Raises:
      ValueError: a dataset without word vectors, without seen or unseen classes, or of stage 2
        while the bias is to be chosen; a scale that isn't above 0; biases that are no such range.
    """

    shown = ("loss", "seen_accuracy", "unseen_accuracy", "harmonic_mean", "zsl_accuracy")

    def __init__(
        self,
        info: DatasetInfo,
        *,
        scale: float = 10.0,
        bias: float = CHOSEN,
        biases: tuple[float, float, int] = (0.0, 3.0, 16),
    ) -> None:
        super().__init__(info)
        if not scale > 0:
            raise ValueError(f"config.task.scale={scale} must be greater than 0")
        lowest, highest, count = biases
        if not 0 <= lowest <= highest or count < 1 or count != int(count):
            raise ValueError(
                f"config.task.biases={tuple(biases)} must be (lowest, highest, how many), from 0 on"
            )
        if bias < 0 and info.properties.get("stage") == FINAL_STAGE:
            raise ValueError(
                f"config.task.bias={bias} chooses by the classes that stage 2 is tested on; set it "
                'to the "bias" that tf_perceiver.evaluate says of stage 1'
            )
        if "word_vectors" not in info.properties or "unseen" not in info.properties:
            raise ValueError(
                f"dataset {info.name!r} has no word vectors of its classes; write one with "
                "beam_preprocess.run --dataset=avca"
            )
        vectors = unpack_floats(info.properties["word_vectors"]).astype(np.float64)
        if len(vectors) != len(info.labels):
            raise ValueError(
                f"dataset {info.name!r} has {len(vectors)} word vectors for {len(info.labels)} "
                "classes; write it again with beam_preprocess.run"
            )
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        unseen = set(info.properties["unseen"])
        self.seen = np.array([label not in unseen for label in info.labels], bool)
        if self.seen.all() or not self.seen.any():
            which = "unseen" if self.seen.all() else "seen"
            raise ValueError(f"dataset {info.name!r} has no {which} classes")
        self.scale, self.bias = float(scale), float(bias)
        self.biases = np.linspace(lowest, highest, int(count))

    def build_model(self, config: Mapping) -> perceiver.Perceiver:
        """The model of ``config.model`` with a point as output, and the distances behind it."""
        return perceiver.build(
            config,
            self.vectors.shape[1],
            PrototypePerceiver,
            prototypes=self.vectors,
            scale=self.scale,
        )

    def loss(self, outputs: tf.Tensor, batch: Batch, training: bool) -> tf.Tensor:
        """[B]: cross-entropy, in nats.

        Args:
          outputs: minus scaled distances [B, classes]. batch: "label" float [B, classes], one-hot.
          training: whether among the seen classes, or among all.
        """
        scores = outputs
        if training:
            scores = tf.where(self.seen[None], outputs, outputs.dtype.min)
        labels = tf.argmax(batch["label"], axis=-1)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)

    def kept(self, outputs: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Scaled distances [B, classes], and labels int64 [B]."""
        return {"distances": -outputs, "labels": tf.argmax(batch["label"], axis=-1)}

    def whole(self, kept: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The benchmark's four numbers, see `stacking.accuracies`, and the bias behind them."""
        bias = self.bias_of(kept)
        return self.under(kept, bias) | {"bias": bias}

    def under(self, kept: Mapping[str, np.ndarray], bias: float) -> dict[str, float]:
        """`stacking.accuracies` of what was kept."""
        return stacking.accuracies(kept["distances"], kept["labels"], self.seen, bias)

    def answered(self, kept: Mapping[str, np.ndarray], bias: float) -> np.ndarray:
        """int64 [n]: the answers under a bias."""
        return stacking.answers(kept["distances"].astype(np.float64), self.seen, bias)

    def among_unseen(self, kept: Mapping[str, np.ndarray]) -> np.ndarray:
        """float64 [classes]: accuracies among the unseen classes alone; NaN for the seen."""
        return stacking.unseen_accuracies(kept["distances"], kept["labels"], self.seen)

    def bias_of(self, kept: Mapping[str, np.ndarray]) -> float:
        """The bias of the config, or the one that is best for what was kept."""
        if self.bias >= 0:
            return self.bias
        return stacking.chosen_bias(kept["distances"], kept["labels"], self.seen, self.biases)

    def answers(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Task.named`: the softmax over all classes of the scores less the bias."""
        scores = tf.cast(outputs, tf.float32)
        scores -= max(self.bias, 0.0) * self.seen.astype(np.float32)
        return self.named(tf.nn.softmax(scores))
