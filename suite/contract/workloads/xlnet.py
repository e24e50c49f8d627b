"""Two-stream transformer that predicts tokens in a random order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.contract.workloads.transformer import (
    NOT_PREDICTED,
    Transformer,
    choose_targets,
    feed_forward_shapes,
    sequences,
)
from suite.contract.workloads.workload import Adam, Arrays, Field, norm_shapes

LAYER_NORM_EPSILON = 1e-12
STREAMS, SEGMENTS = 2, 2


@dataclass(frozen=True)
class XLNetSpec(Transformer):
    """Yang et al. 2019, without memory: post-norm, gelu (erf form), relative positions, no dropout.

    Features are tokens and the order in which they are predicted: 0 for what is given, 1, 2, … for
    predicted ones. Position ``i`` sees ``j`` in the content stream where ``order[j] <= order[i]``,
    in the query stream where ``order[j] < max(order[i], 1)``. The content stream begins as
    the tokens, the query stream as the one row of ``embed.mask`` at every position; both go through
    the same weights, keys and values are the content's. A score is, per head and over the
    square root of its width, ``(q + content)·k + (q + position)·r + (q + segment)·s``: ``r`` is
    ``relative`` of the encoding of ``i - j``, ``s`` row 0 of the segment table where both positions
    are in the same half of the sequence, row 1 where not. Logits are products of the query stream
    with the token table, plus a bias; the loss is BERT's.
    """

    name: str = "xlnet"
    dataset: str = "stdlib-bytes"
    optimizer: Adam = Adam(learning_rate=1e-4)

    @property
    def predictions(self) -> int:
        """The last sixth of the order (Yang et al. 2019, sections 2.3 and 3.1: K = 6)."""
        return max(1, self.sequence // 6)

    @property
    def features(self) -> Field:
        """Tokens, then their order."""
        return Field((2, self.sequence), "int32", self.vocabulary)

    @property
    def targets(self) -> Field:
        """The tokens at predicted positions, -1 elsewhere."""
        return Field((self.sequence,), "int32", self.vocabulary, NOT_PREDICTED)

    @property
    def side_input(self) -> bool:
        return True

    def encodings(self) -> np.ndarray:
        """float64 (2·sequence, width): sines, then cosines; row ``sequence - d`` is distance d."""
        distances = np.arange(self.sequence, -self.sequence, -1.0)
        rates = 10000.0 ** -(np.arange(0, self.width, 2) / self.width)
        angles = np.outer(distances, rates)
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        d = self.width
        result: dict[str, tuple[int, ...]] = {
            "embed.token.table": (self.vocabulary, d), "embed.mask.table": (1, d),
        }
        for block in self.block_names():
            result |= _attention_shapes(f"{block}.attention", d) | norm_shapes(f"{block}.norm1", d)
            result |= feed_forward_shapes(block, d) | norm_shapes(f"{block}.norm2", d)
        return result | {"head.bias": (self.vocabulary,)}

    def ends(self) -> dict[str, tuple[str, ...]]:
        ends = {"embed": ("first",), "head": ("last",)}
        return ends | {"embed.token.table": ("first", "last")}

    def block_flops(self) -> float:
        """Matrices, 2 a weight and token, and products of positions: content, distance, values.

        Keys and values are the content stream's alone; the projected encodings are the same for
        every sample and left out.
        """
        d, tokens = self.width, self.sequence
        matrices = 6 * d**2 + STREAMS * 8 * d**2
        return 2.0 * matrices * tokens + STREAMS * (2 + 4 + 2) * d * tokens**2

    def attention_parts(self, attention: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Both streams at once."""
        return (
            _named(attention, "query", "key", "value", "relative"),
            _named(attention, "content", "position", "segment"),
        )

    def boundary(self, unit: int) -> tuple[int, ...]:
        """Content stream, then query stream."""
        return (STREAMS, self.sequence, self.width)

    def examples(self, tokens: np.ndarray, generator: np.random.Generator) -> Arrays:
        """``predictions`` tokens of each sample, drawn at random and in that order."""
        whole = sequences(tokens, self.sequence)
        places, targets = choose_targets(whole, self.predictions, generator)
        order = np.zeros_like(whole)
        turns = np.arange(1, self.predictions + 1, dtype=np.int32)
        np.put_along_axis(order, places, turns, 1)
        return np.stack([whole, order], axis=1), targets


def _attention_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    matrices = _named(name, "query", "key", "value", "relative", "project")
    biases = _named(name, "content", "position", "segment")
    return {
        **{f"{matrix}.weight": (width, width) for matrix in matrices},
        **{f"{bias}.bias": (width,) for bias in biases},
        f"{name}.segment.table": (SEGMENTS, width),
    }


def _named(part: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{part}.{name}" for name in names)


SIZES = (
    XLNetSpec("tiny", vocabulary=256, sequence=32, width=64, heads=4, blocks=4, global_batch=8),
    XLNetSpec("small", vocabulary=256, sequence=128, width=256, heads=8, blocks=4, global_batch=8),
    XLNetSpec("base", vocabulary=32000, sequence=512, width=768, heads=12, blocks=12,
              global_batch=8),
)
# What two CPU cores train in a fraction of a second a step.
DEFAULT_SIZE = "small"
