"""GLUE's tasks: a label of one sentence or two, or a score of how alike two are.

Metrics are those of the benchmark (Wang et al., ICLR 2019), over the whole split at once, by
scikit-learn and SciPy.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tf_perceiver.model import perceiver
from tf_perceiver.tasks.classification import Classification
from tf_perceiver.tasks.task import Batch, Task


class Sentences(Classification):
    """Classification with Matthews' correlation, and F1 where there are two labels.

    CoLA is scored by the first, MRPC and QQP by accuracy and F1 of their second label, the other
    tasks by accuracy.

    Args:
      info, label_smoothing: see `Classification`.
    """

    def kept(self, outputs: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Indices of the labels, true and answered, int64 [B]."""
        return {"truth": tf.argmax(batch["label"], -1), "answer": tf.argmax(outputs, -1)}

    def whole(self, kept: Mapping[str, np.ndarray]) -> dict[str, float]:
        """ "matthews", 0 where all answers or all truths are one label; "f1" of two labels."""
        from sklearn import metrics

        truth, answer = kept["truth"], kept["answer"]
        found = {"matthews": float(metrics.matthews_corrcoef(truth, answer))}
        if self.num_classes == 2:
            found["f1"] = float(metrics.f1_score(truth, answer, zero_division=0.0))
        return found


class Similarity(Task):
    """Regression of a score by its square error, with both correlations: STS-B."""

    shown = ("loss",)

    def build_model(self, config: Mapping) -> perceiver.Perceiver:
        """The model of ``config.model``, with one output."""
        return perceiver.build(config, 1)

    def loss(self, outputs: tf.Tensor, batch: Batch, training: bool) -> tf.Tensor:
        """Square error of each example.

        Args:
          outputs: [B, 1]. batch: "score" float [B].
          training: makes no difference.
        """
        del training
        return tf.square(outputs[:, 0] - tf.cast(batch["score"], outputs.dtype))

    def kept(self, outputs: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Scores, true and answered, [B]."""
        return {"truth": batch["score"], "answer": outputs[:, 0]}

    def whole(self, kept: Mapping[str, np.ndarray]) -> dict[str, float]:
        """ "pearson" and "spearman", 0 where either side doesn't vary, as without any relation."""
        from scipy import stats

        truth, answer = (np.asarray(kept[name], np.float64) for name in ("truth", "answer"))
        if min(np.ptp(truth), np.ptp(answer)) == 0:
            return {"pearson": 0.0, "spearman": 0.0}
        return {
            "pearson": float(stats.pearsonr(truth, answer).statistic),
            "spearman": float(stats.spearmanr(truth, answer).statistic),
        }

    def answers(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """ "score": float32 [B]."""
        return {"score": tf.cast(outputs[:, 0], tf.float32)}
