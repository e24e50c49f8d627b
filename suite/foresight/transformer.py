"""A transformer as units: the sizes of its products and what its other operations stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.foresight.units import Model, Numbers, Product, Unit

# Elements of (tokens, width) that a block's element-wise operations read and write forward: two
# norms (2 each) and two additions of bias, dropout and residual (3 each).
STREAMED_WHOLE = 10.0
# Passes over the attention scores where attention is not one kernel: product out, softmax in and
# out, dropout in and out with its mask of a byte, product in.
STREAMED_SCORES = 5.5
# What a norm streams beyond those 2 if it is written as x.float(), its square, the mean, a product
# with the root's inverse, a cast and a product with the weights: 36 bytes an element; and rotary
# positions of a query or key: a cast, a complex product and a cast, 20 bytes.
EAGER_NORM, EAGER_ROTATION = 16.0, 10.0
# The largest element is read, and the tensor read again and written in eight bit.
CAST = 2.5
# Kernels of a block forward: eight products, norms, transposes, bias, activation, softmax,
# dropout, residual additions.
LAUNCHES = 30.0
# Passes over the logits in float32, in elements of 2 bytes: cast, maximum, exponential, sum.
STREAMED_LOGITS = 8.0


@dataclass(frozen=True)
class Transformer:
    """Dimensions of a decoder or encoder; each is a number or one for each configuration.

    Attributes:
        layers: Number of blocks.
        hidden: Width.
        heads: Attention heads.
        sequence: Tokens a sample.
        vocabulary: Rows of the token table.
        feed_forward: Width between the two products of the feed-forward part.
        key_value_heads: Heads of keys and values; fewer than ``heads`` if they are shared.
        gated: 1 where the feed-forward part has a third, gating product.
        fused_attention: 1 where attention never writes its scores to memory (Dao et al. 2022).
        tied: 1 where the token table is the output matrix too.
        dropout: 1 where dropout keeps a mask of what each branch adds.
        kept_scores: Elements kept of an attention score that is written to memory: softmax in and
            out of its dropout, and the dropout's mask of a byte.
        eager: 1 where norms and rotary positions are single operations in float32.
        cast: 1 where the inputs of products are scaled to eight bit by their own maximum.
        split_ends: 1 where an intra-layer split divides the vocabulary too, as Megatron-LM does;
            the same for all configurations.
    """

    layers: Numbers
    hidden: Numbers
    heads: Numbers
    sequence: Numbers
    vocabulary: Numbers
    feed_forward: Numbers
    key_value_heads: Numbers
    gated: Numbers = 0.0
    fused_attention: Numbers = 0.0
    tied: Numbers = 1.0
    dropout: Numbers = 1.0
    kept_scores: Numbers = 2.5
    eager: Numbers = 0.0
    cast: Numbers = 0.0
    split_ends: Numbers = 1.0


def block(shape: Transformer) -> Unit:
    """One block: attention and feed-forward part, split over shards as Megatron-LM does.

    Products are those of Narayanan et al. 2021, appendix: 24 s h² + 4 s² h FLOPs forward for a
    feed-forward width of 4 h. What is kept is s h (34 + 5 a s / h) bytes of 16-bit activations,
    10 of the 34 on every shard (Korthikanti et al. 2022, section 4); 2 of those 10 are the masks of
    dropout.
    """
    tokens, width, wide = shape.sequence, shape.hidden, shape.feed_forward
    head = width / shape.heads
    shared = 2.0 * shape.key_value_heads * head
    scores = shape.heads * tokens * tokens * (1.0 - shape.fused_attention)
    ways = 1.0 + shape.gated
    kept_split = tokens * (4.0 * width + ways * 2.0 * wide) + shape.kept_scores * scores
    outputs = tokens * (2.0 * width + shared + ways * wide)
    fused = shape.fused_attention
    weights = width * (width + shared) + width * width + width * wide * (1.0 + ways)
    return Unit(
        "block", shape.layers,
        products=(
            # Of queries, keys, values, output, up, gate and down every second one.
            Product(tokens, width, width + shared, split="outer",
                    alternate=0.5 * shared / (width + shared)),
            Product(tokens, head, tokens, shape.heads, "count", True,
                    fused=shape.fused_attention, sixteen_bit=True),
            Product(tokens, tokens, head, shape.heads, "count", True,
                    fused=shape.fused_attention, sixteen_bit=True),
            Product(tokens, width, width, split="inner", alternate=1.0),
            Product(tokens, width, wide * ways, split="outer",
                    alternate=shape.gated / ways),
            Product(tokens, wide, width, split="inner", alternate=1.0 - shape.gated),
        ),
        streamed=(STREAMED_WHOLE + shape.eager * 2.0 * EAGER_NORM) * tokens * width,
        streamed_split=tokens * (5.0 * width + (1.0 + ways) * wide) + STREAMED_SCORES * scores
        + tokens * shape.eager * EAGER_ROTATION * (width + 0.5 * shared)
        + tokens * shape.cast * CAST * (3.0 * width + wide),
        curved_split=tokens * wide, normed=2.0 * tokens * width, launches=LAUNCHES,
        parameters=4.0 * width, parameters_split=weights,
        kept=(4.0 + shape.dropout) * tokens * width, kept_split=kept_split,
        dropped=fused * (2.0 + shape.dropout) * tokens * width,
        dropped_split=fused * (kept_split - outputs) + shape.kept_scores * scores,
        outputs_split=fused * outputs, leaving=tokens * width, sums=2.0,
    )


def embedding(shape: Transformer) -> Unit:
    """Token table: a look-up forward, an addition of rows backward, a sum over the shards."""
    elements, table = shape.sequence * shape.hidden, shape.vocabulary * shape.hidden
    split = shape.split_ends
    return Unit(
        "embedding", 1.0, streamed=4.0 * elements, launches=6.0,
        parameters=(1.0 - split) * table, parameters_split=split * table, kept=elements,
        leaving=elements, sums=split, place="first",
    )


def head(shape: Transformer) -> Unit:
    """Final norm, logits and loss: a product as wide as the vocabulary, streamed in float32."""
    logits = shape.sequence * shape.vocabulary
    table = shape.vocabulary * shape.hidden
    elements, streamed = shape.sequence * shape.hidden, STREAMED_LOGITS * logits
    own, split = (1.0 - shape.tied) * table, shape.split_ends
    return Unit(
        "head", 1.0,
        products=(Product(shape.sequence, shape.hidden, shape.vocabulary,
                          split="outer" if np.all(split) else "", sixteen_bit=True),),
        streamed=2.0 * elements + (1.0 - split) * streamed, streamed_split=split * streamed,
        normed=elements, launches=15.0, parameters=(1.0 - split) * own,
        parameters_split=split * own, copied_split=shape.tied * table,
        kept=2.0 * elements, logits=logits, place="last",
    )


def transformer(shape: Transformer) -> Model:
    """The whole model in forward order."""
    return embedding(shape), block(shape), head(shape)
