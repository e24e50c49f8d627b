"""What the transformer workloads have in common."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from suite.contract.workloads.workload import Arrays, Branch, Field, Workload, linear_shapes

# The target at positions that the model does not predict.
NOT_PREDICTED = -1
# What is added to the logits of padding. Its share of a softmax is then exactly 0 in every number
# format, and so is its gradient. Minus infinity times a target of 0 would be no number.
PADDING_LOGIT = -1e4


def predictions(sequence: int) -> int:
    """Returns how many positions of a sample are predicted: 15 % (Devlin et al. 2019, 3.1)."""
    return max(1, round(0.15 * sequence))


def choose_targets(tokens: np.ndarray, count: int, generator: np.random.Generator) -> Arrays:
    """Draws the positions that a model has to predict in each sample.

    Args:
        tokens: int32 (samples, sequence).
        count: Positions to draw per sample.
        generator: Draws the positions.

    Returns:
        The positions, int (samples, count), in the order drawn, and the targets, int32 (samples,
        sequence): the token at these positions and ``NOT_PREDICTED`` at all others.
    """
    places = np.argsort(generator.random(tokens.shape), axis=1)[:, :count]
    targets = np.full_like(tokens, NOT_PREDICTED)
    np.put_along_axis(targets, places, np.take_along_axis(tokens, places, 1), 1)
    return places, targets


def sequences(tokens: np.ndarray, length: int) -> np.ndarray:
    """Cuts a row of tokens (n,) into int32 (n // length, length) and drops the remainder."""
    count = len(tokens) // length
    return tokens[: count * length].reshape(count, length).astype(np.int32)


def attention_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Returns canonical name to shape of query, key, value and the output projection."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("query", "key", "value", "project"):
        shapes |= linear_shapes(f"{name}.{part}", width, width)
    return shapes


def feed_forward_shapes(block: str, width: int) -> dict[str, tuple[int, ...]]:
    """Returns canonical name to shape of a feed-forward part, four times as wide inside."""
    expand = linear_shapes(f"{block}.expand", width, 4 * width)
    return expand | linear_shapes(f"{block}.contract", 4 * width, width)


@dataclass(frozen=True)
class Transformer(Workload):
    """Equal blocks of attention and a feed-forward part, over sequences of tokens.

    Attributes:
        vocabulary: Number of different tokens.
        sequence: Tokens per sample.
        width: Width of the residual stream.
        heads: Attention heads per block.
        blocks: Number of blocks.
        global_batch: Samples per step over all devices.
        padding: Rows of the token table after the vocabulary, which no token has and which the
            loss does not see. Matrix products of GPUs are faster on multiples of 64 or 128.
    """

    size: str
    vocabulary: int
    sequence: int
    width: int
    heads: int
    blocks: int
    global_batch: int
    padding: int = field(default=0, kw_only=True)

    @property
    def rows(self) -> int:
        """Rows of the token table, and logits of a position."""
        return self.vocabulary + self.padding

    def padded(self, multiple: int) -> Transformer | None:
        """Returns the model with as many padding rows as make a multiple of ``multiple``."""
        return replace(self, padding=-self.vocabulary % multiple)

    def padding_rows(self) -> dict[str, int]:
        """Counts the padding rows at the end of the token table and of the output bias, if any."""
        ends = ("embed.token.table", "head.bias") if self.padding else ()
        return {name: self.padding for name in ends if name in self.shapes()}

    def logit_mask(self) -> np.ndarray:
        """Returns what is added to the logits of a position, float32 (rows,).

        It is 0 for tokens of the vocabulary and ``PADDING_LOGIT`` for padding.
        """
        mask = np.zeros(self.rows, np.float32)
        mask[self.vocabulary:] = PADDING_LOGIT
        return mask

    @property
    def tokens_per_sample(self) -> int:
        """Tokens in a sample."""
        return self.sequence

    @property
    def features(self) -> Field:
        """Tokens, (sequence,)."""
        return Field((self.sequence,), "int32", self.vocabulary)

    def block_names(self) -> list[str]:
        """Returns the names of the blocks in forward order."""
        return [f"block{index}" for index in range(self.blocks)]

    def block_flops(self) -> float:
        """Returns the forward FLOPs per sample of a block (Kaplan et al. 2020, equation 2.2).

        The matrices have 12 · width² entries, each worth 2 FLOPs per token; attention adds two
        products between all pairs of positions.
        """
        d, tokens = self.width, self.sequence
        return 2.0 * 12 * d**2 * tokens + 4.0 * d * tokens**2

    def head_flops(self) -> float:
        """Returns the forward FLOPs per sample of the product with the token table.

        At the input the table is only looked up, which costs none. Rows of padding do not count:
        their products are no work of the model.
        """
        return 2.0 * self.width * self.vocabulary * self.sequence

    def unit_flops(self) -> dict[str, float]:
        """Forward FLOPs per sample of each block; those of the head count with the last block."""
        flops = dict.fromkeys(self.block_names(), self.block_flops())
        flops[f"block{self.blocks - 1}"] += self.head_flops()
        return flops

    def branches(self) -> list[Branch]:
        """Splits attention by heads and feed-forward layers by columns (Shoeybi et al. 2019)."""
        entering = int(np.prod(self.boundary(0)))
        branches = []
        for block in self.block_names():
            columns, channels = self.attention_parts(f"{block}.attention")
            branches += [
                Branch(columns, f"{block}.attention.project", f"{block}.attention", entering,
                       entering, channels),
                Branch((f"{block}.expand",), f"{block}.contract", f"{block}.expand", entering,
                       entering),
            ]
        return branches

    def attention_parts(self, attention: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names what an intra-layer split divides by heads.

        Args:
            attention: Canonical name of the attention part.

        Returns:
            The matrices that are split by their outputs, and the parameters that act on the
            channels of each head separately.
        """
        return tuple(f"{attention}.{part}" for part in ("query", "key", "value")), ()

    def divisors(self) -> dict[str, int]:
        """Names the heads, which an intra-layer split must divide."""
        return {"heads": self.heads}

    def shallower(self, units: int) -> Transformer | None:
        """Keeps the first blocks; all blocks are alike."""
        return replace(self, blocks=units) if 0 < units < self.blocks else None

    def boundary(self, unit: int) -> tuple[int, ...]:
        """Returns (sequence, width), which is the same between all blocks."""
        return (self.sequence, self.width)
