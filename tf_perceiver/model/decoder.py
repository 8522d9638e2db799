"""From latents to outputs: the averaging head, and decoders whose queries cross-attend to latents.

References: Perceiver (ICML 2021) appendix C; Perceiver IO (ICLR 2022) section 3.2; DeepMind
``perceiver.py``, decoder classes. A decoder is called with the latents, the byte array that the
encoder read and the batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf

from tf_perceiver.model import factors, postprocessors, structured
from tf_perceiver.model.attention import CrossAttention
from tf_perceiver.model.byte_array import ByteArray, Segment
from tf_perceiver.model.linear import (
    Linear,
    fan_in_normal,
    statistics_dtype,
    truncated_normal,
)
from tf_perceiver.model.positions import Fourier
from tf_perceiver.model.queries import GridQueries, TableQueries


class AverageHead(tf.keras.layers.Layer):
    """The original Perceiver's head: mean over the latents, then one linear, started at zero.

    Args:
      channels: D.
      outputs: number of classes.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(name="head", autocast=False)
        self.logits = Linear("head.logits", channels, outputs, initializer="zeros")

    def call(
        self,
        latents: tf.Tensor,
        inputs: ByteArray | None = None,
        batch: Mapping[str, tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """[B, N, D] -> logits [B, classes]."""
        del inputs, batch
        return self.logits(tf.reduce_mean(latents, 1))


class Decoding(tf.keras.layers.Layer):
    """Queries cross-attend to the latents, and a linear follows: ``dec.cross``, ``dec.out``.

    Args:
      query_channels: Cq. latent_channels: D.
      outputs: channels of ``dec.out``; 0 for none.
      heads, widening, qk_channels, v_channels, query_residual: see `CrossAttention`.
      initializer: of the linear's kernel.
      attention: "structured" (the default: see structured.py, equal and faster) or "plain".
      block_size: logits that are alive at a time; 0 for the default.
    """

    def __init__(
        self,
        query_channels: int,
        latent_channels: int,
        outputs: int,
        *,
        heads: int = 1,
        widening: int = 1,
        qk_channels: int | None = None,
        v_channels: int | None = None,
        query_residual: bool = False,
        initializer: tf.keras.initializers.Initializer | str | None = None,
        attention: str = "structured",
        block_size: int = 0,
    ) -> None:
        super().__init__(name="dec", autocast=False)
        self.attention = structured.check(attention, "model.decoder.attention")
        self.block_size = structured.check_block_size(block_size, "model.decoder.block_size")
        self.cross = CrossAttention(
            "dec.cross",
            query_channels,
            latent_channels,
            heads=heads,
            widening=widening,
            qk_channels=qk_channels,
            v_channels=v_channels,
            query_residual=query_residual,
        )
        self.out = None
        if outputs:
            initializer = fan_in_normal(query_channels) if initializer is None else initializer
            self.out = Linear("dec.out", query_channels, outputs, initializer)

    def call(
        self, queries: tf.Tensor, latents: tf.Tensor, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """[B, Q, Cq], [B, N, D], bool [B, Q] (True = asked) -> [B, Q, outputs].

        A query that isn't asked attends to nothing: what is left of it is biases and the MLP's.
        """
        if mask is not None:
            mask = tf.cast(mask, tf.bool)[..., None]
        queries = tf.cast(queries, self.compute_dtype)
        count, keys = queries.shape[1], latents.shape[1]
        attend = self.cross
        if self.attention == "structured" and structured.pays_for_few(self.cross, count, keys):
            attend = functools.partial(structured.few_attend, self.cross)
        return self._project(attend(queries, latents, mask))

    def pays(self, queries: Segment, latents: tf.Tensor) -> bool:
        """Whether `answers` is chosen, and cheaper than `call`."""
        return (
            self.attention == "structured"
            and not self.cross.query_residual  # Which would need the queries themselves.
            and structured.pays_for_answers(self.cross, queries, latents.shape[1])
        )

    def answers(
        self,
        queries: Segment,
        latents: tf.Tensor,
        post: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
        chunk: int = 0,
    ) -> tf.Tensor:
        """``post(self(dense queries, latents))`` of very many queries.

        Args:
          queries: M of them. latents: [B, N, D].
          post: [B, m, outputs] -> [B, m, K], each query by itself.
          chunk: how many are finished at a time; 0 for all.

        Returns:
          [B, M, K].
        """
        parts = factors.of_segment(queries, statistics_dtype(self.compute_dtype))
        return structured.answers(
            self.cross,
            parts,
            latents,
            lambda attended: post(self._project(self.cross.finish(None, attended))),
            chunk=chunk,
            block_size=self.block_size,
        )

    def _project(self, x: tf.Tensor) -> tf.Tensor:
        return x if self.out is None else self.out(x)


def in_chunks(
    function: Callable[[tf.Tensor], tf.Tensor],
    count: int,
    chunk: int,
    channels: int,
    dtype: tf.DType,
) -> tf.Tensor:
    """`function` over the queries 0 .. count - 1, at most `chunk` at a time: memory is bounded.

    Args:
      function: int32 [q] -> [B, q, channels] of `dtype`, independent from one query to the next.
      count: of queries. chunk: 0 for all at once.

    Returns:
      [B, count, channels].
    """
    if not 0 < chunk < count:
        return function(tf.range(count))
    chunks = -(-count // chunk)
    # The last chunk repeats the last query; what is too much is cut off below.
    parts = tf.map_fn(
        lambda start: function(tf.minimum(start + tf.range(chunk), count - 1)),
        tf.range(chunks) * chunk,
        fn_output_signature=tf.TensorSpec([None, chunk, channels], dtype),
        parallel_iterations=1,
    )
    parts = tf.transpose(parts, [1, 0, 2, 3])  # [B, chunks, chunk, channels]
    return tf.reshape(parts, [tf.shape(parts)[0], chunks * chunk, channels])[:, :count]


class ClassificationDecoder(tf.keras.layers.Layer):
    """One learned query, whose row of the output are the logits.

    Args:
      latent_channels: D. outputs: number of classes. query_channels: of the query.
      further: see `Decoding`.
    """

    def __init__(
        self, latent_channels: int, outputs: int, *, query_channels: int = 1024, **further
    ) -> None:
        super().__init__(name="dec", autocast=False)
        self.queries = TableQueries("dec.query", 1, query_channels)
        self.decoding = Decoding(query_channels, latent_channels, outputs, **further)

    def call(
        self, latents: tf.Tensor, inputs: ByteArray, batch: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """[B, N, D] -> logits [B, classes]; the batch's ``query_mask`` [B, 1] may leave it out."""
        del inputs
        queries = over_batch(self.queries.table, latents)
        return self.decoding(queries, latents, batch.get("query_mask"))[:, 0]


class TextDecoder(tf.keras.layers.Layer):
    """A learned query a token; logits by the input embedding's own table.

    Args:
      latent_channels: D. embedding: the table [vocabulary, width] of the input's preprocessor.
      length: L, the longest text. further: see `Decoding`.
    """

    def __init__(
        self, latent_channels: int, embedding: tf.Variable, *, length: int = 2048, **further
    ) -> None:
        super().__init__(name="dec", autocast=False)
        vocabulary, width = embedding.shape
        self.embedding = embedding
        self.queries = TableQueries("dec.query", length, width)
        self.decoding = Decoding(width, latent_channels, 0, **further)
        self.tied = postprocessors.TiedText(vocabulary)

    def call(
        self, latents: tf.Tensor, inputs: ByteArray, batch: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """[B, N, D] -> logits [B, L', vocabulary], L' being the input's length.

        The mask of the input is the queries' too, unless the batch has a ``query_mask``.
        """
        return self.tied(self.vectors(latents, inputs, batch), self.embedding)

    def vectors(
        self, latents: tf.Tensor, inputs: ByteArray, batch: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """[B, L', width], before the embedding's product."""
        queries = over_batch(self.queries.rows(tf.range(inputs.length)), latents)
        return self.decoding(queries, latents, batch.get("query_mask", inputs.mask))


class FlowDecoder(tf.keras.layers.Layer):
    """The encoder's inputs are the queries; two numbers a pixel.

    Args:
      latent_channels: D. input_channels: width of the byte array.
      divisor: of what is decoded, 100 in the paper.
      scale: to pixels: the published model's flow is in units of 20.
      chunk: queries decoded at a time; 0 for all.
      further: see `Decoding`.
    """

    def __init__(
        self,
        latent_channels: int,
        input_channels: int,
        *,
        divisor: float = 100.0,
        scale: float = 1.0,
        chunk: int = 0,
        **further,
    ) -> None:
        super().__init__(name="dec", autocast=False)
        self.divisor, self.scale, self.chunk = divisor, scale, chunk
        self.decoding = Decoding(
            input_channels, latent_channels, 2, initializer="zeros", **further
        )

    def call(
        self, latents: tf.Tensor, inputs: ByteArray, batch: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """[B, N, D] -> [B, H, W, 2]: (x, y) displacement of every pixel of the first frame."""
        (segment,) = inputs.segments
        if self.decoding.pays(segment, latents):
            flow = self.decoding.answers(segment, latents, chunk=self.chunk)
        else:
            queries = inputs.dense(statistics_dtype(self.compute_dtype))
            flow = in_chunks(
                lambda indices: self.decoding(tf.gather(queries, indices, axis=1), latents),
                inputs.length,
                self.chunk,
                2,
                latents.dtype,
            )
        shape = tf.concat([tf.shape(flow)[:1], [*inputs.grid, 2]], 0)
        return tf.reshape(flow, shape) / self.divisor * self.scale


class AutoencodingDecoder(tf.keras.layers.Layer):
    """Video, its sound and its label, by one cross-attention whose queries are padded to one width.

    Each modality's queries are padded behind with a learned vector, ``dec.mm.<modality>.pad``. The
    outputs go through ``post.<modality>.proj``. A *sample* of the queries is decoded where the
    batch has ``image_indices`` or ``audio_indices`` (row-major elements of the grid: int [Q], or
    [B, Q] where each example has its own), as in training; otherwise all are, `chunk` at a time.

    Args:
      latent_channels: D. outputs: channels between the decoder and the post-processors.
      classes: of the label. label_channels: of its query.
      image: {"index_dims": (T, H, W), "positions": fields of `Fourier`, "channels": 3}.
      audio: {"samples", "samples_per_patch", "positions"}.
      min_padding: channels that the widest modality's queries are padded with.
      chunk: queries decoded at a time; 0 for all.
      sampled: whether the whole lies where samples do, on which alone it is trained. Off, it is the
        reference's decoder of all queries, whose places are others (up to one pixel).
      further: see `Decoding`.
    """

    MODALITIES = ("audio", "image", "label")

    def __init__(
        self,
        latent_channels: int,
        *,
        classes: int,
        image: Mapping,
        audio: Mapping,
        outputs: int = 512,
        label_channels: int = 1024,
        min_padding: int = 2,
        chunk: int = 0,
        sampled: bool = False,
        **further,
    ) -> None:
        super().__init__(name="dec", autocast=False)
        patch, samples = audio["samples_per_patch"], audio["samples"]
        if samples % patch:
            raise ValueError(
                f"model.decoder.audio: samples={samples} aren't whole patches of {patch}"
            )
        self.queries = {
            "audio": GridQueries(Fourier(**audio["positions"]), (samples // patch,), sampled),
            "image": GridQueries(Fourier(**image["positions"]), image["index_dims"], sampled),
            "label": TableQueries("dec.query", 1, label_channels),
        }
        self.grid, self.chunk = tuple(image["index_dims"]), chunk
        width = max(queries.channels for queries in self.queries.values()) + min_padding
        self.pads = {
            name: self.add_weight(
                name=f"dec.mm.{name}.pad",
                shape=(1, width - queries.channels),
                initializer=truncated_normal(),
            )
            for name, queries in self.queries.items()
        }
        self.decoding = Decoding(width, latent_channels, outputs, **further)
        values = {"audio": patch, "image": image.get("channels", 3), "label": classes}
        self.post = {
            name: postprocessors.projection(f"post.{name}", outputs, values[name])
            for name in self.MODALITIES
        }

    def call(
        self, latents: tf.Tensor, inputs: ByteArray, batch: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """[B, N, D] -> "image", "audio", "label".

        The whole: [B, T, H, W, 3], [B, samples], [B, classes]; of a sample of Q pixels and P
        patches of sound: [B, Q, 3], [B, P samples_per_patch], [B, classes].
        """
        del inputs
        decoded = {}
        for name in self.MODALITIES:
            indices = batch.get(f"{name}_indices")
            if indices is None:
                decoded[name] = self.all_values(name, latents)
            else:
                decoded[name] = self.values(name, self.queries[name].chosen(indices), latents)
        if "image_indices" not in batch:
            shape = [*self.grid, decoded["image"].shape[-1]]
            decoded["image"] = tf.reshape(
                decoded["image"], tf.concat([tf.shape(latents)[:1], shape], 0)
            )
        decoded["audio"] = postprocessors.waveform(decoded["audio"])
        decoded["label"] = decoded["label"][:, 0]
        return decoded

    def all_values(self, name: str, latents: tf.Tensor) -> tf.Tensor:
        """[B, number of the modality's queries, values], `chunk` of them at a time."""
        queries, post = self.queries[name], self.post[name]
        if isinstance(queries, GridQueries):
            segment = queries.segment(tf.convert_to_tensor(self.pads[name]))
            if self.decoding.pays(segment, latents):
                return self.decoding.answers(segment, latents, post, self.chunk)
        return in_chunks(
            lambda indices: self.values(name, queries.rows(indices), latents),
            queries.count,
            self.chunk,
            post.outputs,
            latents.dtype,
        )

    def padded(self, name: str, rows: tf.Tensor) -> tf.Tensor:
        """[..., Q, channels] -> [..., Q, common width]."""
        dtype = statistics_dtype(self.compute_dtype)
        rows, pad = tf.cast(rows, dtype), tf.cast(self.pads[name], dtype)
        return tf.concat([rows, tf.zeros_like(rows[..., :1]) + pad], -1)

    def vectors(self, name: str, rows: tf.Tensor, latents: tf.Tensor) -> tf.Tensor:
        """Queries [Q, channels] or [B, Q, channels] -> [B, Q, outputs], for the post-processors."""
        return self.decoding(over_batch(self.padded(name, rows), latents), latents)

    def values(self, name: str, rows: tf.Tensor, latents: tf.Tensor) -> tf.Tensor:
        """Queries as for `vectors` -> [B, Q, values of the modality]."""
        return self.post[name](self.vectors(name, rows, latents))


def over_batch(rows: tf.Tensor, latents: tf.Tensor) -> tf.Tensor:
    """[Q, C] -> [B, Q, C] for the B examples of `latents`, in their dtype; [B, Q, C] as it is."""
    rows = tf.cast(rows, latents.dtype)
    if rows.shape.rank == 3:
        return rows
    return tf.broadcast_to(rows[None], tf.concat([tf.shape(latents)[:1], tf.shape(rows)], 0))
