"""Facts that transformers share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.contract.workloads.workload import Arrays, Branch, Field, Workload, linear_shapes

NOT_PREDICTED = -1


def predictions(sequence: int) -> int:
    """Predicted positions a sample: 15 % of them (Devlin et al. 2019, section 3.1)."""
    return max(1, round(0.15 * sequence))


def choose_targets(tokens: np.ndarray, count: int, generator: np.random.Generator) -> Arrays:
    """Of each sample ``count`` positions, in the order drawn, and targets of these alone.

    int (samples, count), int32 (samples, sequence) with ``NOT_PREDICTED`` elsewhere.
    """
    places = np.argsort(generator.random(tokens.shape), axis=1)[:, :count]
    targets = np.full_like(tokens, NOT_PREDICTED)
    np.put_along_axis(targets, places, np.take_along_axis(tokens, places, 1), 1)
    return places, targets


def sequences(tokens: np.ndarray, length: int) -> np.ndarray:
    """int32 (samples, length): a row of tokens, cut; what is left over is dropped."""
    count = len(tokens) // length
    return tokens[: count * length].reshape(count, length).astype(np.int32)


def attention_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Query, key, value and the projection behind them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("query", "key", "value", "project"):
        shapes |= linear_shapes(f"{name}.{part}", width, width)
    return shapes


def feed_forward_shapes(block: str, width: int) -> dict[str, tuple[int, ...]]:
    """Four times as wide inside."""
    expand = linear_shapes(f"{block}.expand", width, 4 * width)
    return expand | linear_shapes(f"{block}.contract", 4 * width, width)


@dataclass(frozen=True)
class Transformer(Workload):
    """Equal blocks of attention and a feed-forward part over sequences of tokens."""

    size: str
    vocabulary: int
    sequence: int
    width: int
    heads: int
    blocks: int
    global_batch: int

    @property
    def tokens_per_sample(self) -> int:
        return self.sequence

    @property
    def features(self) -> Field:
        """Tokens."""
        return Field((self.sequence,), "int32", self.vocabulary)

    def block_names(self) -> list[str]:
        return [f"block{index}" for index in range(self.blocks)]

    def block_flops(self) -> float:
        """2 a matrix entry and token, of 12 width², and two products of positions.

        Kaplan et al. 2020, eq. 2.2.
        """
        d, tokens = self.width, self.sequence
        return 2.0 * 12 * d**2 * tokens + 4.0 * d * tokens**2

    def head_flops(self) -> float:
        """Products with the token table; at the input it is a lookup."""
        return 2.0 * self.width * self.vocabulary * self.sequence

    def unit_flops(self) -> dict[str, float]:
        """Every block's, and the head's with the last."""
        flops = dict.fromkeys(self.block_names(), self.block_flops())
        flops[f"block{self.blocks - 1}"] += self.head_flops()
        return flops

    def branches(self) -> list[Branch]:
        """Attention by heads, then the feed-forward layers by columns (Shoeybi et al. 2019)."""
        entering = int(np.prod(self.boundary(0)))
        found = []
        for block in self.block_names():
            columns, channels = self.attention_parts(f"{block}.attention")
            found += [
                Branch(columns, f"{block}.attention.project", f"{block}.attention", entering,
                       entering, channels),
                Branch((f"{block}.expand",), f"{block}.contract", f"{block}.expand", entering,
                       entering),
            ]
        return found

    def attention_parts(self, attention: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is split by heads: matrices, and what acts on each head's channels alone."""
        return tuple(f"{attention}.{part}" for part in ("query", "key", "value")), ()

    def divisors(self) -> dict[str, int]:
        return {"heads": self.heads}

    def boundary(self, unit: int) -> tuple[int, ...]:
        return (self.sequence, self.width)
