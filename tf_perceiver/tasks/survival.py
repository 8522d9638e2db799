"""Time to an event that some are never seen to have: risk, and the curve of survival.

References: the discrete-time likelihood and its alpha are those of the multimodal survival
literature (Zadeh and Schmid, IEEE TPAMI 2020; Chen et al., MCAT, ICCV 2021); the partial likelihood
is Cox's (1972) with Breslow's treatment of ties; the concordance index is Harrell's (1982).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tf_perceiver.model import perceiver
from tf_perceiver.tasks.task import Batch, Task

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo

LIKELIHOODS = ("discrete", "cox")
CURVE_POINTS = 20  # Of Cox's curve, evenly spaced over the training patients' follow-up.


class Survival(Task):
    """Survival analysis of right-censored times.

    The dataset's description counts the training patients' events and censored times by whole
    months; bins, baseline and the curve's times come from there.

    Args:
      info: with the totals "events" and "censored" of the split "train".
      likelihood: "discrete": the hazard of every bin of time is an output; "cox": one output, the
        log-risk, is compared within a batch.
      bins: of the discrete likelihood: as many events in each as whole months allow.
      alpha: share of the censored patients' likelihood that is given to those with an event, 0 for
        the plain likelihood.

    Raises:
      ValueError: an unknown likelihood, alpha outside [0, 1), no such counts, or too few events for
        so many bins.
    """

    shown = ("loss", "c_index")

    def __init__(
        self, info: DatasetInfo, *, likelihood: str = "discrete", bins: int = 4, alpha: float = 0.0
    ) -> None:
        super().__init__(info)
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"config.task.likelihood={likelihood!r} is none of {LIKELIHOODS}")
        if not 0 <= alpha < 1:
            raise ValueError(f"config.task.alpha={alpha} is not in [0, 1)")
        if bins < 2:
            raise ValueError(f"config.task.bins={bins} must be at least 2")
        totals = info.statistics.get("train", {}).get("totals", {})
        if "events" not in totals or "censored" not in totals:
            raise ValueError(f"dataset {info.name!r} doesn't count its events by month")
        events, censored = np.asarray(totals["events"]), np.asarray(totals["censored"])
        self.likelihood, self.alpha = likelihood, alpha
        last = float(np.flatnonzero(events + censored).max(initial=0) + 1)
        if likelihood == "discrete":
            self.edges = quantile_edges(events, bins)
            self.times = np.append(self.edges, max(last, self.edges[-1] + 1)).astype(np.float32)
        else:
            self.times = np.linspace(last / CURVE_POINTS, last, CURVE_POINTS, dtype=np.float32)
            self.baseline = kaplan_meier_by_month(events, censored, self.times)

    def build_model(self, config: Mapping) -> perceiver.Perceiver:
        """The model of ``config.model``, with an output for every bin, or one for the log-risk."""
        return perceiver.build(config, len(self.times) if self.likelihood == "discrete" else 1)

    def loss(self, outputs: tf.Tensor, batch: Batch, training: bool) -> tf.Tensor:
        """[B]: minus the log-likelihood of each patient, in nats.

        Cox's has the square of the batch's mean log-risk added: the likelihood doesn't know that
        mean, which the curves need to be 0. Its value depends on who is in the batch; padding,
        whose time is 0, is in nobody's risk set.

        Args:
          outputs: [B, bins] or [B, 1].
          batch: "time" [B], months; "event" [B], 1 or 0; "weight" [B], in evaluation.
          training: changes nothing.
        """
        time, event = batch["time"], batch["event"]
        if self.likelihood == "discrete":
            return discrete_loss(outputs, self.bin(time), event, self.alpha)
        weight = batch.get("weight", tf.ones_like(time))
        risk = outputs[:, 0]
        mean = tf.math.divide_no_nan(tf.reduce_sum(weight * risk), tf.reduce_sum(weight))
        return cox_loss(risk, time, event) + tf.square(mean)

    def bin(self, time: tf.Tensor) -> tf.Tensor:
        """int32 [B]: the bin that a time in months is in, edges belonging to the bin above."""
        return tf.searchsorted(tf.constant(self.edges, time.dtype), time, side="right")

    def answers(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Risk and survival.

        Returns:
          "risk" [B], the higher the sooner: minus the sum of the discrete curve, or the log-risk;
          "survival" [B, T], the probability of living longer than each of "times" [B, T], months.
        """
        outputs = tf.cast(outputs, tf.float32)
        if self.likelihood == "discrete":
            survival = tf.exp(tf.cumsum(tf.math.log_sigmoid(-outputs), axis=1))
            risk = -tf.reduce_sum(survival, axis=1)
        else:
            risk = outputs[:, 0]
            # The clip keeps 0 * inf out; nobody's log-risk is 30.
            factor = tf.exp(tf.clip_by_value(risk, -30.0, 30.0))[:, None]
            survival = tf.exp(factor * np.log(np.maximum(self.baseline, 1e-6)))
        times = tf.broadcast_to(tf.constant(self.times), tf.shape(survival))
        return {"risk": risk, "survival": survival, "times": times}

    def kept(self, outputs: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Risk, time and event, each [B]."""
        risk = self.answers(outputs)["risk"]
        return {"risk": risk, "time": batch["time"], "event": batch["event"]}

    def whole(self, kept: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The concordance index over the split; nothing where no two patients can be compared."""
        index = concordance_index(kept["time"], kept["event"], kept["risk"])
        return {} if np.isnan(index) else {"c_index": index}


def discrete_loss(
    logits: tf.Tensor, bins: tf.Tensor, event: tf.Tensor, alpha: float = 0.0
) -> tf.Tensor:
    """Minus the log-likelihood of discrete hazards.

    With h_k = sigmoid(logit_k) the hazard of bin k and S_k = (1 - h_0) ... (1 - h_k): an event in
    bin k has the likelihood S_{k-1} h_k, a time censored there S_k, for the patient survived it.
    The censored part is multiplied by 1 - alpha.

    Args:
      logits: [B, K]. bins: int [B], of the time. event: [B], 1 or 0.
      alpha: in [0, 1).

    Returns:
      [B], in nats.
    """
    # A sigmoid's two sides as log_sigmoid(±x): log(1 - sigmoid(x)) would lose all digits.
    log_hazard, log_safe = tf.math.log_sigmoid(logits), tf.math.log_sigmoid(-logits)
    place = tf.range(tf.shape(logits)[1])[None]
    here = tf.cast(place == tf.cast(bins, tf.int32)[:, None], logits.dtype)
    before = tf.cast(place < tf.cast(bins, tf.int32)[:, None], logits.dtype)
    event = tf.cast(event, logits.dtype)
    log_event = tf.reduce_sum(before * log_safe + here * log_hazard, axis=1)
    log_censored = tf.reduce_sum((before + here) * log_safe, axis=1)
    return -event * log_event - (1 - alpha) * (1 - event) * log_censored


def cox_loss(risk: tf.Tensor, time: tf.Tensor, event: tf.Tensor) -> tf.Tensor:
    """Minus each patient's term of Cox's log partial likelihood within the batch.

    An event at t has the term r_i - log(sum of exp(r_j) over all j with time_j >= t), a censored
    patient has none; their sum is the likelihood with Breslow's treatment of ties.

    Args:
      risk: log-risks r [B]. time: [B]. event: [B], 1 or 0.

    Returns:
      [B], in nats, 0 where there was no event.
    """
    at_risk = time[None, :] >= time[:, None]
    shown = tf.where(at_risk, risk[None, :], risk.dtype.min)
    # Each is in its own set, so that none is empty.
    return tf.cast(event, risk.dtype) * (tf.reduce_logsumexp(shown, axis=1) - risk)


def quantile_edges(events: np.ndarray, bins: int) -> np.ndarray:
    """Whole months that divide events into bins of about one size.

    Args:
      events: counts by month [M]. bins: K.

    Returns:
      float32 [K - 1], rising; a time is in bin k if k edges are not above it.

    Raises:
      ValueError: too few events, or too many at once, for so many bins.
    """
    cumulated = np.cumsum(events)
    wanted = cumulated[-1] * np.arange(1, bins) / bins
    edges = np.searchsorted(cumulated, wanted, side="left") + 1
    if cumulated[-1] < bins or (np.diff(edges) < 1).any():
        raise ValueError(
            f"config.task.bins={bins}: the {cumulated[-1]:g} events of the training split can't be "
            "divided into so many by whole months; set fewer"
        )
    return edges.astype(np.float32)


def kaplan_meier_by_month(
    events: np.ndarray, censored: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """The product-limit estimate of survival from counts by month.

    Args:
      events, censored: counts by month [M]; those censored in a month were at risk all through it.
      times: months [T].

    Returns:
      float32 [T]: the share that lives longer; a month's deaths count from its end on.
    """
    left = events + censored
    at_risk = left.sum() - np.cumsum(left) + left
    survival = np.cumprod(1 - events / np.maximum(at_risk, 1))
    whole = np.minimum(np.floor(times), len(events)).astype(int)  # Months that are over.
    return np.concatenate([[1.0], survival])[whole].astype(np.float32)


def concordance_index(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    """Harrell's concordance: of the pairs that can be compared, the share in the right order.

    A pair can be compared if the one with the shorter time had the event; of two at the same time,
    if exactly one had it, who counts as the shorter. It is in the right order if the shorter one
    has the higher risk; equal risks count half.

    Args:
      time, event, risk: [n].

    Returns:
      In [0, 1]; NaN without a pair.
    """
    time, risk = np.asarray(time, np.float64), np.asarray(risk, np.float64)
    event = np.asarray(event) > 0
    concordant, pairs = 0.0, 0
    for i in np.flatnonzero(event):
        longer = (time > time[i]) | ((time == time[i]) & ~event)
        pairs += int(longer.sum())
        concordant += np.sum(risk[longer] < risk[i]) + 0.5 * np.sum(risk[longer] == risk[i])
    return float(concordant / pairs) if pairs else float("nan")
