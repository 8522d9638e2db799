"""The trunk: cross-attends and blocks of the latent transformer, in turn.

Reference: Perceiver (ICML 2021) section 3 and table 7's caption (what is shared), table 6
(interleaved or at the start).
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from tf_perceiver.model import dropout as dropouts
from tf_perceiver.model import structured, subgraph
from tf_perceiver.model.attention import CrossAttention, SelfAttention
from tf_perceiver.model.byte_array import ByteArray
from tf_perceiver.model.latent import LatentBlock
from tf_perceiver.model.linear import statistics_dtype, truncated_normal


@dataclasses.dataclass(frozen=True)
class SharingPlan:
    """Which set of weights each repetition uses.

    Attributes:
      cross: for each cross-attend in order, the index of its weights, e.g. (0, 1, 1, 1).
      blocks: the same for the blocks of self-attends, e.g. (0, 0, 0, 0).
    """

    cross: tuple[int, ...]
    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        for field in ("cross", "blocks"):
            plan = tuple(int(i) for i in getattr(self, field))
            object.__setattr__(self, field, plan)
            # Distinct sets are numbered in order of first use, so that names stay dense.
            first_uses = list(dict.fromkeys(plan))
            if not plan or first_uses != list(range(len(first_uses))):
                raise ValueError(
                    f"model.trunk.sharing: {field}={plan} must number the weight sets 0, 1, 2 ... "
                    "in order of first use"
                )

    @classmethod
    def named(
        cls, plan: str | Mapping[str, Sequence[int]], cross_attends: int, blocks: int
    ) -> SharingPlan:
        """The plan by name: "none", "paper", "all", or {"cross": [...], "blocks": [...]}.

        "paper" is the best ImageNet model's: cross-attend 0 has its own weights, the others share
        one set, all blocks share one set (44,912,254 parameters).

        Raises:
          ValueError: an unknown name, or lists of other lengths than the trunk has.
        """
        if plan == "none":
            return cls(tuple(range(cross_attends)), tuple(range(blocks)))
        if plan == "paper":
            return cls((0,) + (1,) * (cross_attends - 1), (0,) * blocks)
        if plan == "all":
            return cls((0,) * cross_attends, (0,) * blocks)
        if isinstance(plan, str) or set(plan) != {"cross", "blocks"}:
            raise ValueError(
                f"model.trunk.sharing={plan!r} is none of 'none', 'paper', 'all' or "
                "{'cross': [...], 'blocks': [...]}"
            )
        if (len(plan["cross"]), len(plan["blocks"])) != (cross_attends, blocks):
            raise ValueError(
                f"model.trunk.sharing lists {len(plan['cross'])} cross-attends and "
                f"{len(plan['blocks'])} blocks, the trunk has {cross_attends} and {blocks}"
            )
        return cls(tuple(plan["cross"]), tuple(plan["blocks"]))


def schedule(cross_attends: int, blocks: int, arrangement: str) -> list[tuple[str, int]]:
    """The order of the trunk, e.g. [("cross", 0), ("block", 0), ("cross", 1), ("block", 1)].

    "interleaved": the first `cross_attends` blocks have one cross-attend before them each.
    "at_start": all cross-attends, then all blocks.

    Raises:
      ValueError: an unknown arrangement, no cross-attend, or more of them than blocks where they
        are interleaved.
    """
    if cross_attends < 1:
        raise ValueError(f"model.trunk.cross_attends={cross_attends}: at least 1 is needed")
    if arrangement == "at_start":
        return [("cross", i) for i in range(cross_attends)] + [
            ("block", i) for i in range(blocks)
        ]
    if arrangement != "interleaved":
        raise ValueError(
            f"model.trunk.arrangement={arrangement!r} is neither 'interleaved' nor 'at_start'"
        )
    if cross_attends > blocks:
        raise ValueError(
            f"{cross_attends} cross-attends can't be interleaved with {blocks} blocks; "
            "use arrangement='at_start'"
        )
    steps = []
    for i in range(blocks):
        steps += [("cross", i)] if i < cross_attends else []
        steps += [("block", i)]
    return steps


class Run(NamedTuple):
    """What of the trunk is one call.

    Attributes:
      kind: "cross" or "block".
      index: of its weights, among those of the cross-attends or of the blocks.
      layers: of the block.
      times: how often these layers follow each other.
    """

    kind: str
    index: int
    layers: tuple[int, ...] = ()
    times: int = 1

    @property
    def once(self) -> Run:
        """The same, a single time."""
        return self._replace(times=1)


class Encoder(tf.keras.layers.Layer):
    """Latents that read the byte array again and again.

    Perceiver IO's trunk is the case of one cross-attend and `blocks` repetitions of one block.

    Args:
      input_channels: C, width of the dense byte array.
      num_latents: N. latent_channels: D.
      cross_attends: how often the byte array is read.
      blocks: number of blocks of self-attends; defaults to `cross_attends`.
      self_attends_per_block: L.
      cross_heads, self_heads: heads.
      cross_widening, self_widening: of the MLPs.
      sharing: see `SharingPlan.named`.
      arrangement: see `schedule`.
      shape_for_attn, query_residual: see `CrossAttention`.
      qk_channels, v_channels: inner widths of every attention; see `CrossAttention`.
      attention: "structured" (the default: see structured.py, equal and faster) or "plain".
      block_size: logits of a cross-attend that are alive at a time; 0 for the default.
      recompute: keep of each layer of the latent transformer its input alone, and run it again in
        the backward pass: less memory for a third more work.
      keep_probabilities: of the latent transformer's attention, for the backward pass: 3 % less
        time for 0.6 of the memory again in float32, 6 % less for 0.8 in bfloat16.
      dropout: share of what each layer adds to the latents that is left out in training; the paper
        has none.

    Raises:
      ValueError: what `schedule`, `SharingPlan` and `CrossAttention` raise; an unknown `attention`,
        a negative block_size, a dropout outside [0, 1).
    """

    def __init__(
        self,
        input_channels: int,
        *,
        num_latents: int,
        latent_channels: int,
        cross_attends: int,
        self_attends_per_block: int,
        blocks: int | None = None,
        cross_heads: int = 1,
        self_heads: int = 8,
        cross_widening: int = 1,
        self_widening: int = 1,
        sharing: str | Mapping[str, Sequence[int]] = "paper",
        arrangement: str = "interleaved",
        shape_for_attn: str = "kv",
        query_residual: bool = True,
        qk_channels: int | None = None,
        v_channels: int | None = None,
        attention: str = "structured",
        block_size: int = 0,
        recompute: bool = False,
        keep_probabilities: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(name="enc", autocast=False)
        self.attention = structured.check(attention, "model.trunk.attention")
        self.block_size = structured.check_block_size(block_size, "model.trunk.block_size")
        self.recompute, self.keep_probabilities = recompute, keep_probabilities
        self.dropout = dropouts.check(dropout, "model.trunk.dropout")
        blocks = cross_attends if blocks is None else blocks
        self.steps = schedule(cross_attends, blocks, arrangement)
        self.plan = SharingPlan.named(sharing, cross_attends, blocks)
        self.latents = self.add_weight(
            name="latents.table",
            shape=(num_latents, latent_channels),
            initializer=truncated_normal(),
        )
        self.cross = [
            CrossAttention(
                f"enc.cross.{i}",
                latent_channels,
                input_channels,
                heads=cross_heads,
                widening=cross_widening,
                shape_for_attn=shape_for_attn,
                query_residual=query_residual,
                qk_channels=qk_channels,
                v_channels=v_channels,
            )
            for i in range(max(self.plan.cross) + 1)
        ]
        self.blocks = [
            [
                SelfAttention(
                    f"enc.self.{b}.{j}",
                    latent_channels,
                    heads=self_heads,
                    widening=self_widening,
                    qk_channels=qk_channels,
                    v_channels=v_channels,
                )
                for j in range(self_attends_per_block)
            ]
            for b in range(max(self.plan.blocks) + 1)
        ]

    def start(self, batch_size: tf.Tensor | int) -> tf.Tensor:
        """[B, N, D]: the learned latents, the same for every example."""
        latents = tf.cast(self.latents, self.compute_dtype)
        return tf.broadcast_to(latents[None], tf.concat([[batch_size], tf.shape(latents)], 0))

    def call(
        self, inputs: ByteArray, dropout_key: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Byte array of B examples -> latents [B, N, D]; without a key nothing is left out.

        In training little is kept for the gradient. It is the same without, and takes more memory.
        """
        batch_size, known = inputs.batch_size()
        read = self._reader(inputs, known, training)
        z = self.start(batch_size if known is None else known)
        dropout = 0.0 if dropout_key is None else self.dropout
        runs = self._runs(apart=bool(dropout) or self.recompute)
        # Made once for all repetitions of a block.
        calls = collections.Counter(run.once for run in runs if run.kind == "block")
        blocks = {
            run: LatentBlock(
                [self.blocks[run.index][j] for j in run.layers],
                count,
                training,
                self.keep_probabilities,
            )
            for run, count in calls.items()
        }
        for count, run in enumerate(runs):
            before = z
            if run.kind == "block":
                z = blocks[run.once](z, run.times, self.recompute)
            else:
                z = read(self.cross[run.index], z)
            if dropout:
                key = tf.random.experimental.stateless_fold_in(dropout_key, count)
                z = dropouts.residual(before, z, dropout, key)
        return z

    def _runs(self, apart: bool) -> list[Run]:
        """The trunk in order, alike blocks in a row being one run, or every layer one of its own.

        Args:
          apart: whether something has to be done between layers.
        """
        runs: list[Run] = []
        for kind, i in self.steps:
            if kind == "cross":
                runs.append(Run(kind, self.plan.cross[i]))
                continue
            block = self.plan.blocks[i]
            whole = Run(kind, block, tuple(range(len(self.blocks[block]))))
            if apart:
                runs += [Run(kind, block, (layer,)) for layer in whole.layers]
            elif runs and runs[-1].once == whole:
                runs[-1] = runs[-1]._replace(times=runs[-1].times + 1)
            else:
                runs.append(whole)
        return runs

    def _reader(
        self, inputs: ByteArray, batch_size: int | None, training: bool
    ) -> Callable[[CrossAttention, tf.Tensor], tf.Tensor]:
        """How cross-attends read these inputs: (layer, latents) -> latents."""
        exact = statistics_dtype(self.compute_dtype)
        latents = self.latents.shape[0]
        if self.attention == "structured" and structured.pays(
            self.cross[0], inputs, latents, batch_size
        ):
            # Made once for all cross-attends: none of it depends on their weights.
            parts = structured.Inputs.of(inputs, exact)

            @subgraph.called
            def read(layer: CrossAttention, z: tf.Tensor) -> tf.Tensor:
                return structured.cross_attend(layer, z, parts, self.block_size, training)

            return read
        dense = inputs.dense(exact)
        mask = None if inputs.mask is None else inputs.mask[:, None]  # The same for all latents.
        return lambda layer, z: layer(z, dense, mask)

    def first_cross_attention(self, inputs: ByteArray) -> tf.Tensor:
        """float32 [B, h, N, M]: where each latent looks at its first reading."""
        dense = inputs.dense(statistics_dtype(self.compute_dtype))
        return self.cross[0].probabilities(self.start(tf.shape(dense)[0]), dense)
