"""Irregular series: a measurement is one input, whatever was measured and when."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model.byte_array import Segment
from tf_perceiver.model.linear import rows, truncated_normal
from tf_perceiver.model.positions import Fourier
from tf_perceiver.model.preprocessors.base import Preprocessor


class Series(Preprocessor):
    """The embedding of a variable's value, and the Fourier features of its time.

    Every variable has rows of its own in ``pre.series.embed.table``, one for each knot of an even
    grid over [-limit, limit]; a value lies between two knots and gets their rows' linear
    interpolation. So what a value means may bend: a pulse can be too slow and too fast.

    ``batch["series_mask"]``, bool [B, M], says which inputs are no padding.

    Args:
      variables: number of variables. width: of an embedding.
      knots: of each variable, at least 2; an odd number puts one at the mean.
      limit: where the grid ends, in deviations; as in the pipeline.
      positions: fields of `Fourier` with one axis, time.

    Raises:
      ValueError: fewer than two knots, or positions of another number of axes.
    """

    def __init__(
        self,
        *,
        variables: int,
        width: int,
        positions: Mapping,
        knots: int = 9,
        limit: float = 4.0,
        modality: str = "series",
    ) -> None:
        super().__init__(modality)
        fields = dict(positions)
        if fields.pop("kind", "fourier") != "fourier":
            raise ValueError(f"{self.name}: times have no grid for a table; use kind='fourier'")
        self.positions = Fourier(**fields)
        if self.positions.dimensions != 1:
            raise ValueError(
                f"{self.name}: time is one axis, max_resolution is {self.positions.max_resolution}"
            )
        if knots < 2:
            raise ValueError(f"{self.name}: knots={knots}, at least 2 are needed")
        self.knots, self.limit = knots, limit
        self.embedding = self.add_weight(
            name=f"{self.name}.embed.table",
            shape=(variables * knots, width),
            initializer=truncated_normal(1.0),  # As large as the features of time.
        )
        self.channels = width + self.positions.channels

    def segment(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Segment:
        """M inputs.

        Args:
          batch: "series", float [B, M, 2]: time in [-1, 1] and normalised value;
            "series_variable", int [B, M].
        """
        series = self.take(batch, 3)
        place = (series[..., 1] / self.limit + 1) * (self.knots - 1) / 2
        place = tf.clip_by_value(place, 0.0, float(self.knots - 1))
        below = tf.minimum(tf.floor(place), self.knots - 2)
        share = (place - below)[..., None]
        first = tf.cast(batch[f"{self.modality}_variable"], tf.int32) * self.knots
        first += tf.cast(below, tf.int32)
        table = tf.convert_to_tensor(self.embedding)
        share = tf.cast(share, table.dtype)
        content = (1 - share) * rows(table, first) + share * rows(table, first + 1)
        return Segment(content, self.positions.encode(series[..., :1]))
