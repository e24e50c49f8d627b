"""Bidirectional transformer that predicts masked tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.contract.workloads.transformer import (
    NOT_PREDICTED,
    Transformer,
    attention_shapes,
    choose_targets,
    feed_forward_shapes,
    predictions,
    sequences,
)
from suite.contract.workloads.workload import Adam, Arrays, Field, linear_shapes, norm_shapes

LAYER_NORM_EPSILON = 1e-12
SEGMENTS = 2
MASKED, RANDOM = 0.8, 0.1


@dataclass(frozen=True)
class BertSpec(Transformer):
    """Devlin et al. 2019: post-norm, gelu (erf form), learned positions, a normalised embedding.

    All tokens are of segment 0. A predicted position goes through a dense layer, gelu and a
    normalisation; the token table is the output matrix too, with a bias of its own. The loss is the
    sum over predicted positions divided by samples times ``predictions``, so the mean over equal
    shards is that of the batch.
    """

    mask: int
    name: str = "bert"
    dataset: str = "stdlib-bytes"
    optimizer: Adam = Adam(learning_rate=1e-4)

    @property
    def predictions(self) -> int:
        return predictions(self.sequence)

    @property
    def targets(self) -> Field:
        """The true tokens at predicted positions, -1 elsewhere."""
        return Field((self.sequence,), "int32", self.vocabulary, NOT_PREDICTED)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """``norm1`` is behind attention and its residual, ``norm2`` behind the feed-forward one."""
        d = self.width
        result: dict[str, tuple[int, ...]] = {
            "embed.token.table": (self.vocabulary, d),
            "embed.position.table": (self.sequence, d),
            "embed.segment.table": (SEGMENTS, d),
            **norm_shapes("embed.norm", d),
        }
        for block in self.block_names():
            result |= attention_shapes(f"{block}.attention", d)
            result |= norm_shapes(f"{block}.norm1", d)
            result |= feed_forward_shapes(block, d)
            result |= norm_shapes(f"{block}.norm2", d)
        result |= linear_shapes("head.dense", d, d) | norm_shapes("head.norm", d)
        return result | {"head.bias": (self.vocabulary,)}

    def ends(self) -> dict[str, tuple[str, ...]]:
        ends = {"embed": ("first",), "head": ("last",)}
        return ends | {"embed.token.table": ("first", "last")}

    def head_flops(self) -> float:
        """The dense layer too, at every position."""
        return 2.0 * self.width**2 * self.sequence + super().head_flops()

    def examples(self, tokens: np.ndarray, generator: np.random.Generator) -> Arrays:
        """Of the predicted tokens 80 % are masked, 10 % are random, the rest stay (appendix A.1).

        No token is [MASK] by itself: those from its number on move up by one.
        """
        whole = self._unmasked(sequences(tokens, self.sequence))
        places, targets = choose_targets(whole, self.predictions, generator)
        draw = generator.random(places.shape)
        other = self._unmasked(generator.integers(0, self.vocabulary, places.shape, np.int32))
        shown = np.where(draw < MASKED + RANDOM, other, np.take_along_axis(whole, places, 1))
        np.put_along_axis(whole, places, np.where(draw < MASKED, self.mask, shown), 1)
        return whole, targets

    def _unmasked(self, tokens: np.ndarray) -> np.ndarray:
        below = tokens % (self.vocabulary - 1)
        return below + (below >= self.mask).astype(np.int32)


SIZES = (
    BertSpec("tiny", vocabulary=257, sequence=32, width=64, heads=4, blocks=4,
             global_batch=8, mask=256),
    BertSpec("small", vocabulary=257, sequence=128, width=256, heads=8, blocks=4,
             global_batch=8, mask=256),
    BertSpec("base", vocabulary=30522, sequence=512, width=768, heads=12, blocks=12,
             global_batch=8, mask=103),
    BertSpec("large", vocabulary=30522, sequence=512, width=1024, heads=16, blocks=24,
             global_batch=8, mask=103),
)
# What two CPU cores train in a fraction of a second a step.
DEFAULT_SIZE = "small"
