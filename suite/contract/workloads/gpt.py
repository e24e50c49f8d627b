"""GPT: a decoder-only transformer that predicts the next token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.contract.workloads.transformer import (
    Transformer,
    attention_shapes,
    feed_forward_shapes,
    sequences,
)
from suite.contract.workloads.workload import Adam, Arrays, Field, norm_shapes

LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class GptSpec(Transformer):
    """GPT-2 (Radford et al. 2019): a pre-norm decoder with learned positions.

    The token table is the output matrix too, so its gradient is the sum of both uses.
    """

    name: str = "gpt"
    dataset: str = "stdlib-bytes"
    optimizer: Adam = Adam(learning_rate=3e-4)

    @property
    def targets(self) -> Field:
        """The next token at every position."""
        return self.features

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name to shape; the norms come before attention and the feed-forward part."""
        d = self.width
        result: dict[str, tuple[int, ...]] = {
            "embed.token.table": (self.rows, d),
            "embed.position.table": (self.sequence, d),
        }
        for block in self.block_names():
            result |= norm_shapes(f"{block}.norm1", d)
            result |= attention_shapes(f"{block}.attention", d)
            result |= norm_shapes(f"{block}.norm2", d)
            result |= feed_forward_shapes(block, d)
        return result | norm_shapes("norm", d)

    def ends(self) -> dict[str, tuple[str, ...]]:
        """Both ends hold the token table: the last stage multiplies with it to get logits."""
        ends = {"embed": ("first",), "norm": ("last",)}
        return ends | {"embed.token.table": ("first", "last")}

    def examples(self, tokens: np.ndarray, generator: np.random.Generator) -> Arrays:
        """Cuts a row of tokens into samples; the target of every token is the token after it.

        Args:
            tokens: int (n,), a long row of tokens.
            generator: Unused: nothing is random here.

        Returns:
            Features and targets, both int32 (samples, sequence).
        """
        return sequences(tokens[:-1], self.sequence), sequences(tokens[1:], self.sequence)


SIZES = (
    GptSpec("tiny", vocabulary=256, sequence=32, width=64, heads=4, blocks=4, global_batch=8),
    GptSpec("small", vocabulary=256, sequence=128, width=256, heads=8, blocks=4, global_batch=8),
    GptSpec("gpt2", vocabulary=50257, sequence=1024, width=768, heads=12, blocks=12,
            global_batch=8),
    GptSpec("gpt2-medium", vocabulary=50257, sequence=1024, width=1024, heads=16, blocks=24,
            global_batch=8),
    GptSpec("gpt3-xl", vocabulary=50257, sequence=2048, width=2048, heads=16, blocks=24,
            global_batch=8),
    GptSpec("gpt3-6.7b", vocabulary=50257, sequence=2048, width=4096, heads=32, blocks=32,
            global_batch=8),
)
# The size of which two CPU cores train a step in a fraction of a second.
DEFAULT_SIZE = "small"
