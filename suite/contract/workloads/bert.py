"""BERT: a bidirectional transformer that predicts masked tokens."""

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
# Shares of the predicted tokens that are masked or replaced by a random token.
MASKED, RANDOM = 0.8, 0.1


@dataclass(frozen=True)
class BertSpec(Transformer):
    """BERT (Devlin et al. 2019): post-norm, gelu in its erf form, learned positions.

    The sum of the embeddings is normalised, and all tokens belong to segment 0. The head is a dense
    layer, gelu and a normalisation, then a product with the token table, which serves as the output
    matrix too, plus a bias. The loss is the sum over the predicted positions divided by samples
    times ``predictions``, so that the mean over equal shares of a batch is the loss of the batch.

    Attributes:
        mask: Number of the [MASK] token.
    """

    mask: int
    name: str = "bert"
    dataset: str = "stdlib-bytes"
    optimizer: Adam = Adam(learning_rate=1e-4)

    @property
    def predictions(self) -> int:
        """The number of predicted positions in each sample."""
        return predictions(self.sequence)

    @property
    def targets(self) -> Field:
        """The true token at each predicted position, -1 at all other positions."""
        return Field((self.sequence,), "int32", self.vocabulary, NOT_PREDICTED)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name to shape; the norms follow the residual sums.

        ``norm1`` normalises attention plus its residual, ``norm2`` the feed-forward part plus its
        residual.
        """
        d = self.width
        result: dict[str, tuple[int, ...]] = {
            "embed.token.table": (self.rows, d),
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
        return result | {"head.bias": (self.rows,)}

    def ends(self) -> dict[str, tuple[str, ...]]:
        """Both ends hold the token table: the last stage multiplies with it to get logits."""
        ends = {"embed": ("first",), "head": ("last",)}
        return ends | {"embed.token.table": ("first", "last")}

    def head_flops(self) -> float:
        """Forward FLOPs per sample of the dense layer and the logits, at every position."""
        return 2.0 * self.width**2 * self.sequence + super().head_flops()

    def examples(self, tokens: np.ndarray, generator: np.random.Generator) -> Arrays:
        """Masks tokens and takes what they were as targets (Devlin et al. 2019, appendix A.1).

        Of the predicted tokens 80 % become [MASK], 10 % a random token, and the rest stay. No token
        of the data is [MASK] itself: tokens from its number upwards move up by one.

        Args:
            tokens: int (n,), a long row of tokens.
            generator: Draws the predicted positions and the random tokens.

        Returns:
            Features and targets, both int32 (samples, sequence).
        """
        whole = self._unmasked(sequences(tokens, self.sequence))
        places, targets = choose_targets(whole, self.predictions, generator)
        draw = generator.random(places.shape)
        other = self._unmasked(generator.integers(0, self.vocabulary, places.shape, np.int32))
        shown = np.where(draw < MASKED + RANDOM, other, np.take_along_axis(whole, places, 1))
        np.put_along_axis(whole, places, np.where(draw < MASKED, self.mask, shown), 1)
        return whole, targets

    def _unmasked(self, tokens: np.ndarray) -> np.ndarray:
        """Renumbers tokens so that none of them is [MASK]."""
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
# The size of which two CPU cores train a step in a fraction of a second.
DEFAULT_SIZE = "small"
