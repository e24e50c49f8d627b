"""XLNet: a two-stream transformer that predicts tokens in a random order."""

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
    """XLNet (Yang et al. 2019) without memory: post-norm, gelu in its erf form, no dropout.

    Features are the tokens and the order in which they are predicted: 0 for a token that is given,
    1, 2, … for predicted tokens. In the content stream position ``i`` sees position ``j`` if
    ``order[j] <= order[i]``, in the query stream if ``order[j] < max(order[i], 1)``. The content
    stream starts from the token embeddings, the query stream from the only row of ``embed.mask`` at
    every position. Both streams go through the same weights; keys and values come from the content
    stream only.

    Positions are relative. An attention score of a head is ``(q + content)·k + (q + position)·r +
    (q + segment)·s``, divided by the square root of the head's width. ``r`` is the layer
    ``relative`` applied to the encoding of the distance ``i - j``; ``s`` is row 0 of the segment
    table if both positions are in the same half of the sequence, and row 1 if not. Logits are the
    product of the query stream with the token table, plus a bias; the loss is that of BERT.
    """

    name: str = "xlnet"
    dataset: str = "stdlib-bytes"
    optimizer: Adam = Adam(learning_rate=1e-4)

    @property
    def predictions(self) -> int:
        """Predicted positions per sample: a sixth (Yang et al. 2019, 2.3 and 3.1: K = 6)."""
        return max(1, self.sequence // 6)

    @property
    def features(self) -> Field:
        """Row 0 is the tokens, row 1 their order: (2, sequence)."""
        return Field((2, self.sequence), "int32", self.vocabulary)

    @property
    def targets(self) -> Field:
        """The true token at each predicted position, -1 at all other positions."""
        return Field((self.sequence,), "int32", self.vocabulary, NOT_PREDICTED)

    @property
    def side_input(self) -> bool:
        """True: every block needs the order to know what a position may see."""
        return True

    def encodings(self) -> np.ndarray:
        """Returns the sinusoidal encodings of all distances, float64 (2 · sequence, width).

        Row ``sequence - d`` encodes distance ``d``; the first half of a row are sines, the second
        half cosines.
        """
        distances = np.arange(self.sequence, -self.sequence, -1.0)
        rates = 10000.0 ** -(np.arange(0, self.width, 2) / self.width)
        angles = np.outer(distances, rates)
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name to shape; the norms follow the residual sums."""
        d = self.width
        result: dict[str, tuple[int, ...]] = {
            "embed.token.table": (self.rows, d), "embed.mask.table": (1, d),
        }
        for block in self.block_names():
            result |= _attention_shapes(f"{block}.attention", d) | norm_shapes(f"{block}.norm1", d)
            result |= feed_forward_shapes(block, d) | norm_shapes(f"{block}.norm2", d)
        return result | {"head.bias": (self.rows,)}

    def ends(self) -> dict[str, tuple[str, ...]]:
        """Both ends hold the token table: the last stage multiplies with it to get logits."""
        ends = {"embed": ("first",), "head": ("last",)}
        return ends | {"embed.token.table": ("first", "last")}

    def block_flops(self) -> float:
        """Returns the forward FLOPs per sample of a block.

        Every weight counts 2 FLOPs per token. Products between positions add the scores by content,
        the scores by distance and the weighted values. Keys and values are computed for the content
        stream only. The projected encodings are left out: they are the same for every sample.
        """
        d, tokens = self.width, self.sequence
        matrices = 6 * d**2 + STREAMS * 8 * d**2
        return 2.0 * matrices * tokens + STREAMS * (2 + 4 + 2) * d * tokens**2

    def attention_parts(self, attention: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names what is split by heads; the same weights serve both streams."""
        return (
            _named(attention, "query", "key", "value", "relative"),
            _named(attention, "content", "position", "segment"),
        )

    def boundary(self, unit: int) -> tuple[int, ...]:
        """Returns (2, sequence, width): the content stream, then the query stream."""
        return (STREAMS, self.sequence, self.width)

    def examples(self, tokens: np.ndarray, generator: np.random.Generator) -> Arrays:
        """Draws which tokens of each sample are predicted, and in which order.

        Args:
            tokens: int (n,), a long row of tokens.
            generator: Draws the predicted positions.

        Returns:
            Features, int32 (samples, 2, sequence): tokens and order; targets, int32 (samples,
            sequence).
        """
        whole = sequences(tokens, self.sequence)
        places, targets = choose_targets(whole, self.predictions, generator)
        order = np.zeros_like(whole)
        turns = np.arange(1, self.predictions + 1, dtype=np.int32)
        np.put_along_axis(order, places, turns, 1)
        return np.stack([whole, order], axis=1), targets


def _attention_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Returns canonical name to shape of an attention part."""
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
# The size of which two CPU cores train a step in a fraction of a second.
DEFAULT_SIZE = "small"
